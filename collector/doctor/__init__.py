"""What is right and what is not, in order, each with its fix: the instance first, then a page that carries the tag."""
