"""The spool: what was accepted, on disk before it is acknowledged, until the loader has brought it into the store."""
