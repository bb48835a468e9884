"""The engine: an embedded ClickHouse behind ClickHouse's own HTTP interface, in a process of its own.

Imports nothing else of ours: the process that holds the data and runs analysts' SQL knows only this folder.
"""
