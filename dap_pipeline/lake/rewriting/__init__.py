"""Writes the parts of jobs as tidy Parquet: every value arrives, or the load fails and says why."""
