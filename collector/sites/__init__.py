"""Sites, spaces and keys: as the edge needs them, as rows in the store, and how they are kept fresh."""
