"""Turns a finished job into published Parquet."""
