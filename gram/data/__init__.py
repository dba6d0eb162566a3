"""Data sets: the splits of a task as Parquet, and the sums that they are compared with."""
