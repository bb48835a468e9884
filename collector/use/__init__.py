"""What the organisation makes of its customers: the file of configuration, `use.toml`, put together.

config    the file, read
"""
