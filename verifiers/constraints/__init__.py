"""Word problems as constraints, decided by Z3."""
