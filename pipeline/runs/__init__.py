"""A run as a whole: what it is, what it holds and owes, and whether it is still as it was left."""
