"""Tasks that have a rule: what a step says is computed anew from the problem, and compared."""
