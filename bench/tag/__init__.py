"""`make bench-tag`: what the tag costs a page, beside other tags that are measured in the same run."""
