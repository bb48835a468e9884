"""`resolve` over columns: the same rules for millions of rows, with numpy and pyarrow.

Module by module what `collector.identity.resolve` and its neighbours say for one component. Invariant: for any
evidence both give the same rows; tests hold the two against each other. Only stitch and rebuild import this folder,
and late.
"""
