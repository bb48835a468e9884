"""Exports: people, members of audiences, timelines and changes as files, pseudonymous unless asked otherwise."""
