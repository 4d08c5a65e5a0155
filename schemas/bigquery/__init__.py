"""The warehouse's tables and views, as BigQuery's own schema files and SQL."""
