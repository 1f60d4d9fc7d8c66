"""Platt scaling: what a trained PRM's margins are worth as probabilities, fitted on held-out problems."""

import logging
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from pipeline.prm.evaluate import calibration, step_auroc
from pipeline.prm.model import PRM, Tokens
from schemas.errors import UserError

log = logging.getLogger(__name__)
_SMALLEST_FIT = 30
"""Fewest held-out steps of each label to fit a calibration on."""


class Labelled(Tokens, Protocol):
    """Token ids with step ends, and P(right) for each end, None where nothing is known."""

    @property
    def targets(self) -> list[float | None]:
        """One for every step."""
        ...


def calibrate(prm: PRM, holdout: Sequence[Labelled]) -> tuple[PRM, dict[str, Any]]:
    """The PRM with Platt scaling fitted on held-out problems, and the figures before and after it.

    With too few held-out steps of either label the scores stay as they are: a fit would be worse than none.
    UserError when a score is not a number.
    """
    margins, targets = _held_out(prm, holdout)
    n, right = len(targets), int((targets >= 0.5).sum())
    found: dict[str, Any] = {"steps": n, "share_right": round(right / n, 4) if n else None}
    # With one kind of step only there is no curve to fit, and no AUROC.
    if min(right, n - right) == 0:
        return prm, {**found, "auroc": None}
    found["auroc"] = step_auroc(margins, targets >= 0.5)
    found["before"] = calibration(_sigmoid(margins), targets)
    if min(right, n - right) < _SMALLEST_FIT:
        return prm, found
    a, b = fit_platt(margins, targets)
    # A falling curve would turn the ranking round; it is a sign of a model that learnt nothing.
    if a <= 0:
        log.warning("the held-out scores do not rise with the labels: no calibration is applied")
        return prm, found
    found["after"] = calibration(_sigmoid(a * margins + b), targets)
    return PRM(prm.model, prm.tokenizer, prm.card.model_copy(update={"a": a, "b": b})), found


def fit_platt(margins: np.ndarray[Any, Any], targets: np.ndarray[Any, Any]) -> tuple[float, float]:
    """(a, b) of sigmoid(a * margin + b) with the least cross-entropy.

    Targets are drawn in by one count a side (Platt 1999, section 2.2): separable data give finite values too.
    """
    right = targets.sum()
    low, high = 1.0 / (len(targets) - right + 2.0), (right + 1.0) / (right + 2.0)
    goal = torch.from_numpy(low + (high - low) * targets)
    x = torch.from_numpy(margins)
    weights = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    # In float64 with a line search: it converges from margins of 1e-4 and of 1e4 alike.
    optimizer = torch.optim.LBFGS([weights], max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-14,
                                  line_search_fn="strong_wolfe")  # fmt: skip

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = binary_cross_entropy_with_logits(weights[0] * x + weights[1], goal)
        found.backward()
        return found

    optimizer.step(loss)
    a, b = weights.tolist()
    return a, b


def _held_out(prm: PRM, holdout: Sequence[Labelled]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    margins: list[float] = []
    targets: list[float] = []
    for example, scores in zip(holdout, prm.read(holdout), strict=True):
        for margin, target in zip(scores.tolist(), example.targets, strict=True):
            if target is not None:
                margins.append(margin)
                targets.append(target)
    if not np.isfinite(margins).all():
        raise UserError(
            "the trained model's scores are not numbers: lower train.learning_rate; nothing was written"
        )
    return np.array(margins), np.array(targets)


def _sigmoid(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))  # never overflows
