"""What people and programs read of a run: manifest, gallery, log. Reads the ledger only."""
