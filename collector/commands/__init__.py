"""What `tagstitch …` does, one module for each kind of work. `cli` puts them together."""
