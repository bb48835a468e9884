"""Puts rows into the store: batches of the loader exactly once, and the small rows of stitch, sites and keys.

A token covers one block under one set of settings, so the settings are frozen here: they decide how a batch falls
into blocks, and a replay under other settings would be stored twice. Whoever changes BATCH_SETTINGS counts
BATCH_SETTINGS_VERSION up; the loader puts that number into its manifest and settles what is open under the old one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from collector.store.client import StoreClient, encode_rows

BATCH_SETTINGS_VERSION = 1
BATCH_SETTINGS: Mapping[str, Any] = {
    # One batch is one block, whatever its size: the token covers it whole.
    "input_format_parallel_parsing": 0,
    "max_insert_block_size": 1_048_576,
    "min_insert_block_size_rows": 1_048_576,
    "min_insert_block_size_bytes": 1_073_741_824,
    "max_block_size": 1_048_576,
    "max_insert_threads": 1,
    "parallel_view_processing": 0,
    # Known twice is stored once, in every table behind every view.
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "materialized_views_ignore_errors": 0,
    # What the edge wrote is what is read: nothing guessed, nothing skipped.
    "input_format_skip_unknown_fields": 0,
    "input_format_json_ignore_unknown_keys_in_named_tuple": 0,
    "input_format_json_named_tuples_as_objects": 1,
    "input_format_json_defaults_for_missing_elements_in_named_tuple": 1,
    "input_format_defaults_for_omitted_fields": 1,
    "input_format_null_as_default": 1,
    "date_time_input_format": "basic",
    # Properties may repeat a path ({"a.b": 1, "a": {"b": 2}}): the first one counts, the batch goes on.
    "type_json_skip_duplicated_paths": 1,
    # A spool that waited, or an import, may touch many months; ClickHouse refuses more than 100 by default.
    "max_partitions_per_insert_block": 1000,
}

# On a cluster the batch goes through the Distributed table, which waits for the shards and hands the token on.
CLUSTER_SETTINGS: Mapping[str, Any] = {"distributed_foreground_insert": 1}

# Rows of another store of ours: one insert is one block, known twice is stored once, and nothing is converted.
COPY_SETTINGS: Mapping[str, Any] = {
    "input_format_parallel_parsing": 0,
    "max_insert_block_size": 1_048_576,
    "min_insert_block_size_rows": 1_048_576,
    "min_insert_block_size_bytes": 1_073_741_824,
    "max_insert_threads": 1,
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "materialized_views_ignore_errors": 0,
}

STATE_SETTINGS: Mapping[str, Any] = {
    "async_insert": 0,
    "input_format_skip_unknown_fields": 0,
    "input_format_defaults_for_omitted_fields": 1,
    "date_time_input_format": "best_effort",
}


def insert_batch(client: StoreClient, lines: bytes, token: str) -> None:
    """Insert one batch of landing rows, JSON lines with `batch_host` and `batch_seq` in front.

    `lines`: at most 8 MiB and 50,000 events. `token`: names the place in the spool and a digest of the bytes.
    Raises StoreUnavailable where it is not known whether the batch is in (call again with the same bytes and token),
    StoreError where it is refused. The caller has called `check_landing` before.
    """
    settings = {**BATCH_SETTINGS, **(CLUSTER_SETTINGS if client.cluster else {})}
    client.insert_lines(f"{client.database}.landing", lines, settings, token)


def insert_rows(client: StoreClient, table: str, rows: Sequence[object]) -> None:
    """Insert rows (structs or dictionaries) into a table of state: batches, the map, customers, sites, keys.

    These tables keep the row with the highest version and have no deduplication window, so that writing the same
    row twice is harmless and two equal rows of different versions are both taken. Times may be ISO 8601 text or
    seconds since 1970. Nothing is sent for no rows.
    """
    if rows:
        client.insert_lines(f"{client.database}.{table}", encode_rows(rows), STATE_SETTINGS)


def insert_copied(client: StoreClient, table: str, columns: Sequence[str], data: bytes, token: str = "") -> None:
    """Insert rows that were read from another store of ours, as one block of format Native.

    `token`: names the rows and a digest of their bytes; none for tables of state. Raises StoreUnavailable where it is
    not known whether they are in (call again with the same bytes and token), StoreError where they are refused.
    """
    settings = {**COPY_SETTINGS, **(CLUSTER_SETTINGS if client.cluster else {})}
    client.insert_native(f"{client.database}.{table}", columns, data, settings, token)
