"""Importing events of the past from files, through the spool. Read `events` first."""
