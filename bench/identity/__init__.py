"""`make bench-identity`: what stitching costs at millions of pieces of evidence."""
