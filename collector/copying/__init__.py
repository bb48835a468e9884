"""Moving an embedded instance to a ClickHouse server, while the collector runs. Read `move` first."""
