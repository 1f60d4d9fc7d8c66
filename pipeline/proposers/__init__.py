"""Proposers: candidate solutions for a problem, with the votes their search produced."""
