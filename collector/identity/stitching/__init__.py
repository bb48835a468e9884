"""The role `stitch` and the rebuild: evidence is read from the store, resolved, and what differs is written.

Owns no rule of identity: those stand one folder up, and once more over columns in `bulk`.
"""
