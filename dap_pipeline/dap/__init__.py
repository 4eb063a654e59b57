"""Speaks the DAP Query API: credentials, jobs, objects."""
