"""The table catalogue that ships with the package: one schema per table, and the references."""
