"""What the organisation makes of its customers: the file of configuration, `use.toml`, put together; and the records of
other sources, joined.

config    the file, read                          publishing    what it declares, in the store for readers
sources   the sources of a web process            records       what they know of a person, and whom they find
page_names   what pages call their fields
"""
