"""What a run would do: a job held against what its run directory already holds. Changes nothing."""
