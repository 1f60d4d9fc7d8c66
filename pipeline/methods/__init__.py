"""Values and labels derived from what a run has stored: counts and rollouts. Nothing here samples.

An annotator spends tokens and leaves votes, which fusion weighs; a method here reads counts that were paid
for once and says what they mean to one more paper: an advantage, a share of progress, a place in a tree. That
is why these are no annotators: they can be changed and run again on a sealed run for nothing, and their
values, which are no probabilities that a step is right, never meet the votes. Where a paper's procedure does
draw samples (SCAN's scan, PAV's prover, the signals' probes) that part is an annotator and leaves counts.

Each module is one method: pure functions that follow the paper, then `COLUMNS` and `rows`, by which
`stepmint derive` writes it. All read the same prefix tree (`tree.py`) or the counts along a solution
(`stored.py`).
"""
