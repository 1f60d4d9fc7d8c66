"""Steps that calculate: exact numbers, equations, clock times."""
