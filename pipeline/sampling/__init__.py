"""Sampling completions for one problem: rollouts, their token budget, and the reuse of earlier ones."""
