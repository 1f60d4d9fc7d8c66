"""Drawing completions for one problem: rollouts, their budget, and what was drawn before."""
