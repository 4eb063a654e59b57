"""The Dagster layer: assets, checks, resources, schedules."""
