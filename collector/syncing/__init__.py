"""Copying customer records: from a source into `customers` and `traits`, what has changed since the last time.

forms       what a record comes to: its key, its values, the identifiers that it names
standing    what was copied the last time, as rows of the store
writing     rows of traits, lines of evidence
preparing   what is written of some records
sync        the order of work
opening     from a configuration to a sync
"""
