"""Annotators: votes on the steps of a solution, one module per method."""
