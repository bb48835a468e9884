"""Which settings a reader or an analyst may send, in the URL, in a SETTINGS clause or by SET, and how far.

Every setting is in one of four groups: *limits* go down and never up, *free* ones say how an answer looks or how a
statement is to be understood, *ignored* ones are sent by drivers as a habit and change nothing here, and all others
are refused with code 452, because many of them name files, hosts or expressions.

What drivers send on their own, and what therefore must be in a group or be read by the interface:

- clickhouse-go over HTTP, and Grafana's data source with it (its `conn_http.go`): `default_format=Native`,
  `client_protocol_version`, `database`, `query_id`, and every setting that its user configured, such as
  `max_execution_time`. Its first question is answered by `native`.
- clickhouse-jdbc and DBeaver (client-v2's `ClientConfigProperties`): `compress=1`, `default_format`, `database`,
  `query_id`, `session_timezone`, `wait_end_of_query`, `max_result_rows` with `result_overflow_mode=break`, and
  settings for JSON in RowBinary.
- clickhouse-connect (its `driver/`): `wait_end_of_query`, `send_progress_in_http_headers`,
  `http_headers_progress_interval_ms`, `cancel_http_readonly_queries_on_client_close`, `date_time_input_format`,
  `client_protocol_version`. It reads the `readonly` column of `system.settings` before it sends a setting.
- dbt-clickhouse: `mutations_sync`, `alter_sync`, `insert_distributed_sync`, `allow_nondeterministic_mutations`,
  `allow_experimental_lightweight_delete`, `join_use_nulls`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from collector.engine.errors import BAD_ARGUMENTS, READONLY, QueryFailed

SETTING_CONSTRAINT_VIOLATION = 452
_MAX_VALUE_LENGTH = 1000

# Whole numbers that bound a statement; 0 means unbounded, so it becomes the role's own bound.
_LIMITS = frozenset(
    [
        *("max_execution_time", "max_memory_usage", "max_threads", "max_result_rows", "max_result_bytes"),
        *("max_rows_to_read", "max_bytes_to_read", "max_rows_to_read_leaf", "max_bytes_to_read_leaf"),
        *("max_rows_to_group_by", "max_rows_to_sort", "max_bytes_to_sort", "max_rows_in_distinct"),
        *("max_bytes_in_distinct", "max_rows_in_set", "max_bytes_in_set", "max_rows_in_join", "max_bytes_in_join"),
        *("max_columns_to_read", "max_temporary_columns", "max_subquery_depth", "max_estimated_execution_time"),
        *("max_block_size", "limit", "offset"),
    ]
)
# A bound where the role sets none.
_CEILINGS = {"max_block_size": 1_000_000}

_FREE = frozenset(
    [
        *("date_time_output_format", "date_time_input_format", "session_timezone", "use_client_time_zone"),
        *("join_use_nulls", "group_by_use_nulls", "transform_null_in", "aggregate_functions_null_for_empty"),
        *("union_default_mode", "except_default_mode", "intersect_default_mode", "join_default_strictness"),
        *("any_join_distinct_right_table_keys", "join_algorithm", "totals_mode", "totals_auto_threshold", "extremes"),
        *("final", "distinct_overflow_mode", "group_by_overflow_mode", "result_overflow_mode", "sort_overflow_mode"),
        *("set_overflow_mode", "join_overflow_mode", "read_overflow_mode", "timeout_overflow_mode"),
        *("prefer_column_name_to_alias", "asterisk_include_alias_columns", "asterisk_include_materialized_columns"),
        *(
            "cast_keep_nullable",
            "cast_string_to_date_time_mode",
            "decimal_check_overflow",
            "data_type_default_nullable",
        ),
        *("describe_compact_output", "describe_include_subcolumns", "empty_result_for_aggregation_by_empty_set"),
        *("enable_positional_arguments", "convert_query_to_cnf", "optimize_read_in_order", "optimize_move_to_prewhere"),
        *(
            "optimize_aggregation_in_order",
            "force_index_by_date",
            "force_primary_key",
            "short_circuit_function_evaluation",
        ),
        *("count_distinct_implementation", "first_day_of_week", "formatdatetime_parsedatetime_m_is_month_name"),
        *("allow_nonconst_timezone_arguments", "allow_suspicious_types_in_order_by", "use_variant_as_common_type"),
        *("allow_suspicious_types_in_group_by", "low_cardinality_allow_in_native_format", "log_comment"),
        *(
            "max_insert_block_size",
            "min_insert_block_size_rows",
            "insert_null_as_default",
            "materialized_views_ignore_errors",
        ),
        *("mutations_sync", "alter_sync", "lightweight_deletes_sync", "allow_nondeterministic_mutations"),
        *("join_any_take_last_row", "joined_subquery_requires_alias", "json_type_escape_dots_in_keys"),
    ]
)
_FREE_PREFIXES = ("output_format_", "input_format_", "format_csv_", "format_tsv_", "format_regexp_escaping")
# Inside the families above: names that reach files or take expressions.
_NEVER = re.compile(r"file|path|schema|template|regexp$|secret|dir|url|avro_schema_registry|errors_file|uncompressed")

_IGNORED = frozenset(
    [
        *("readonly", "allow_ddl", "log_queries", "send_logs_level", "log_profile_events", "connect_timeout"),
        *("receive_timeout", "send_timeout", "connect_timeout_with_failover_ms", "tcp_keep_alive_timeout"),
        *("http_connection_timeout", "http_send_timeout", "http_receive_timeout", "http_wait_end_of_query"),
        *("idle_connection_timeout", "poll_interval", "max_query_size", "max_ast_depth", "max_ast_elements"),
        *("max_expanded_ast_elements", "max_parser_depth", "priority", "load_balancing", "distributed_product_mode"),
        *("skip_unavailable_shards", "insert_distributed_sync", "distributed_foreground_insert", "insert_quorum"),
        *(
            "select_sequential_consistency",
            "prefer_localhost_replica",
            "distributed_ddl_task_timeout",
            "use_query_cache",
        ),
        *(
            "async_insert",
            "wait_for_async_insert",
            "insert_deduplicate",
            "use_uncompressed_cache",
            "network_compression_method",
        ),
        *("replication_alter_partitions_sync", "database_replicated_enforce_synchronous_settings", "client_name"),
        *("allow_experimental_json_type", "allow_experimental_object_type", "allow_experimental_variant_type"),
        *("allow_experimental_dynamic_type", "allow_experimental_lightweight_delete", "enable_json_type"),
        *("allow_experimental_window_functions", "allow_experimental_lightweight_update", "enable_time_time64_type"),
        *("allow_experimental_qbit_type", "allow_experimental_geo_types", "enable_variant_type", "enable_dynamic_type"),
        *(
            "ssl",
            "use_server_time_zone",
            "use_time_zone",
            "product_name",
            "async",
            "custom_http_params",
            "queue_max_wait_ms",
        ),
        *("http_max_field_value_size", "http_response_buffer_size", "max_http_get_redirects", "sslmode", "async_query"),
    ]
)


def is_settable(name: str) -> bool:
    """Tell whether a reader may send this setting with an effect."""
    if name in _LIMITS or name in _FREE:
        return True
    return name.startswith(_FREE_PREFIXES) and not _NEVER.search(name)


def is_sendable(name: str) -> bool:
    """Tell whether a reader may send this setting at all: with an effect, or to be ignored."""
    return is_settable(name) or name in _IGNORED


def admit_settings(wanted: Mapping[str, str], bounds: Mapping[str, str]) -> dict[str, str]:
    """Return what holds for one statement: the role's `bounds`, and of the wanted settings what is allowed.

    Raise `QueryFailed` 452 for a setting that is not allowed and 36 for a limit that is no whole number.
    """
    given = dict(bounds)
    for name, value in wanted.items():
        if len(value) > _MAX_VALUE_LENGTH:
            raise QueryFailed(BAD_ARGUMENTS, f"The value of setting {name[:64]} is too long.")
        if name in _LIMITS:
            given[name] = _bounded(name, value, bounds.get(name) or str(_CEILINGS.get(name, 0)))
        elif is_settable(name):
            given[name] = value
        elif name == "readonly" and value not in ("1", "2"):
            raise QueryFailed(READONLY, "Cannot modify 'readonly' setting in readonly mode.")
        elif name not in _IGNORED:
            raise QueryFailed(
                SETTING_CONSTRAINT_VIOLATION,
                f"Setting {name[:64]} may not be changed with this credential: leave it out.",
                "SETTING_CONSTRAINT_VIOLATION",
            )
    return given


def _bounded(name: str, value: str, bound: str) -> str:
    if value == "DEFAULT":
        return bound
    # Some drivers write whole numbers as 60.0.
    whole = value.removesuffix(".0")
    if not whole.isdecimal():
        raise QueryFailed(BAD_ARGUMENTS, f"Setting {name} must be a whole number.")
    asked, most = int(whole), int(bound)
    if most and (asked == 0 or asked > most):
        return bound
    return str(asked)
