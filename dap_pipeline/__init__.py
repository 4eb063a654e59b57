"""Every table of Instructure's Data Access Platform as a Dagster asset."""
