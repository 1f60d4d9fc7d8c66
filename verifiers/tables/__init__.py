"""Steps that read a table."""
