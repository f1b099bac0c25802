"""Console script `surgrec`: one file per verb."""
