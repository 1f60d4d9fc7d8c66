"""First-order formulas, and whether they can be true together."""
