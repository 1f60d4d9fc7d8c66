"""Values and labels derived from what a run has stored: counts and rollouts.

An annotator spends tokens and leaves votes, which fusion weighs; a method here reads counts that were paid
for once and says what they mean to one more paper: an advantage, a share of progress, a place in a tree. That
is why these are no annotators: they can be changed and run again on a sealed run for nothing, and their
values, which are no probabilities that a step is right, never meet the votes. Where a paper's procedure does
draw rollouts (SCAN's scan, PAV's prover) that part is an annotator and leaves counts. The log-probability
signals alone ask a model, for forward passes.

Each module is one method: pure functions that follow the paper, then `COLUMNS` and `rows`, by which
`stepmint derive` writes it (`derive.py`). All read the same prefix tree (`tree.py`) or the counts along a
solution (`stored.py`).
"""
