"""Generated problems with the exact truth of every step."""
