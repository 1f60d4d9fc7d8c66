"""A run as a whole: its identity, its problems, its records, and the store that says what is still owed."""
