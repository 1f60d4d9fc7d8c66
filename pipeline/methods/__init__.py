"""Values and labels derived from what a run has stored: counts and rollouts.

An annotator spends tokens and leaves votes, and fusion weighs the votes. A method reads the counts that are
stored already and computes what one more paper makes of them: an advantage, a share of progress, a place in
a tree. So a method can be changed and run again on a sealed run for nothing. Its values are no probabilities
that a step is right, and fusion never reads them. Where a paper's procedure draws rollouts (SCAN's scan,
PAV's prover), that part is an annotator and leaves counts. Only the log-probability signals ask a model, for
forward passes.

Each module is one method: pure functions that follow the paper, then `COLUMNS` and `rows`, by which
`stepmint derive` writes it (`derive.py`). All read the same prefix tree (`tree.py`) or the counts along a
solution (`stored.py`).
"""
