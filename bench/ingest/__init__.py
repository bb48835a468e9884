"""The benchmark of the ingest: what one core accepts, brings into ClickHouse and keeps. `make bench`."""
