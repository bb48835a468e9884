"""What erasing costs, and whether anything is left: `make bench-privacy`."""
