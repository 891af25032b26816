"""What batchgen is compared with: scripts as people write them, each run as a process."""
