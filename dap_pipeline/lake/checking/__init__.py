"""Facts about what is published: the checks of a table, without Dagster."""
