"""The relations that a step states, found in running text."""
