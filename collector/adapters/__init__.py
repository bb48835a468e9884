"""Data adapters: a person's fields from the back ends that have them.

contract        what an adapter is                    configuration   what stands in the file, read
opening         from its configuration to the adapter
source          an adapter with cache and deadline    fetches         its requests: bounds, breaker, retry
cache, breaker, pace, bounds                          of a source, pure
files           records in CSV, JSONL and Parquet     file_index      their keys, on disk
sql             records in a database                 sql_connection  how it is connected to
clickhouse      tables and dictionaries               plugins         classes of installed packages
rest            records over HTTP                     address_guard   where one may connect to
rest_template   what is asked, in paths               rest_body       and in bodies
blocking        threads for what blocks               own_thread      an adapter in a thread of its own
values          values in the form of their field     plain_values    of drivers and plugins
"""
