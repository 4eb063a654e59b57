"""Merges increments, snapshots and logs into tables: from files to files, nothing is published."""
