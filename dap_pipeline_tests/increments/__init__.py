"""Increments: what judges them, and the judges themselves."""
