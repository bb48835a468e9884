"""The role load: from the spool into ClickHouse, in batches, each exactly once."""
