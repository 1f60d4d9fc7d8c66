"""Ask a model for the signals of a run's solutions (`signals.py` says what they mean)."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from pipeline.inputs.segment import without_answer
from pipeline.methods import signals
from pipeline.methods.signals import Likelihood, likelihood
from pipeline.methods.stored import Run, Stored
from pipeline.methods.tree import is_own
from pipeline.policies import Policy, Prompt, Sampling, Scorer, open_policy, scorer
from pipeline.prm.selection import normalised
from pipeline.prompts.templates import SolvingPrompt
from schemas.config import RunConfig
from schemas.derive import SignalSettings
from schemas.reasoning import answer_start
from schemas.records import Solution, content_id, seed_of
from verifiers.answers.grade import extract_answer

_LONGEST_ANSWER = 200
"""Characters of a wrong answer that is still worth contrasting with."""

COLUMNS = {
    "solution_id": "string",
    "step": "int32",
    "text": "string",
    "model": "string",
    "revision": "string",
    "prompt_digest": "string",
    "answer_tokens": "int32",
    "log_prob": "float64",
    "p_before": "float64",
    "p": "float64",
    "mean_token_p": "float64",
    "gain": "float64",
    "log_gain": "float64",
    "contrast": "float64",
    "negatives": "int32",
    "confidence": "float64",
    "potential": "float64",
    "potential_gain": "float64",
    "penalty": "float64",
    "bonus": "float64",
    "jensen_bound": "float64",
    "answer_shown": "bool",
    "first_error_p": "float64",
    "step_mean_log_prob": "float64",
    "step_min_log_prob": "float64",
}


@dataclass(frozen=True)
class Asking:
    """The model to ask, and the settings with which it is asked."""

    policy: Policy
    scorer: Scorer
    config: RunConfig
    settings: SignalSettings
    solving: SolvingPrompt


@dataclass(frozen=True)
class Point:
    """What the model says at one state of a solution."""

    gold: Likelihood | None
    negatives: tuple[Likelihood | None, ...]
    confidence: float | None


def rows(run: Run, settings: SignalSettings) -> Iterator[dict[str, Any]]:
    """One row a step of every solution whose problem has an answer. The model is opened and closed here.

    One event loop serves all of it, because vLLM's engine belongs to the loop it started in.
    """
    config = run.config
    policy = open_policy(settings.policy or config.policy)
    asking = Asking(policy, scorer(policy), config, settings, run.solving)
    with asyncio.Runner() as loop:
        loop.run(_enter(policy))
        try:
            waiting = iter(run)
            # A bounded number of problems is under way: enough to fill a batch, and a run need not fit into
            # memory.
            while some := list(islice(waiting, settings.under_way)):
                yield from loop.run(_all(some, asking))
        finally:
            loop.run(policy.__aexit__(None, None, None))


async def _enter(policy: Policy) -> None:
    await policy.__aenter__()


async def _all(some: Sequence[Stored], asking: Asking) -> list[dict[str, Any]]:
    found = await asyncio.gather(*(problem_rows(stored, asking) for stored in some))
    return [row for rows in found for row in rows]


async def problem_rows(stored: Stored, asking: Asking) -> list[dict[str, Any]]:
    """The rows of one problem; none where it has no reference answer."""
    answer = stored.finished.problem.answer
    if answer is None:
        return []
    wrong = wrong_answers(stored)
    solutions = [candidate.solution for candidate in stored.finished.candidates]
    asked = asking.solving.ask(stored.finished.problem)
    prompt = Prompt(asked.text, system=asked.system)
    points = await asyncio.gather(
        *(_points(prompt, s, [answer, *_others(wrong, s, asking)], asking) for s in solutions)
    )
    steps = await asyncio.gather(*(_steps(prompt, s, asking) for s in solutions))
    errors = await asyncio.gather(*(_first_error(prompt, s, asking) for s in solutions))
    # The bound of a problem is the mean over its solutions, each at its last state.
    ends = [found[-1].gold.log_prob for found in points if found[-1].gold]
    bound = signals.jensen_bound(ends) if ends else None
    return [
        {**row, "jensen_bound": bound, "answer_shown": answer in row["text"], "first_error_p": p}
        for solution, along, own, chances in zip(solutions, points, steps, errors, strict=True)
        for row, p in zip(_rows(solution, along, own, asking), chances, strict=True)
    ]


def wrong_answers(stored: Stored) -> list[str]:
    """The wrong answers of the problem's own rollouts, most frequent first. The policy gave them, so they are
    plausible."""
    found: Counter[str] = Counter()
    for rollout in stored.rollouts:
        if rollout.outcome == "incorrect" and is_own(rollout.purpose):
            text = extract_answer(rollout.prefix + rollout.text)
            if text and len(text) <= _LONGEST_ANSWER:
                found[text] += 1
    # By count and then by text: equal counts must not be ordered by chance.
    return [text for text, _ in sorted(found.items(), key=lambda item: (-item[1], item[0]))]


def _others(wrong: list[str], solution: Solution, asking: Asking) -> list[str]:
    """Wrong answers to contrast with. Not the solution's own: that would tell its outcome, not its steps."""
    own = normalised(solution.answer or "")
    return [answer for answer in wrong if normalised(answer) != own][: asking.settings.negatives]


def states(solution: Solution, closer: str, separator: str) -> list[str]:
    """Prefixes that end in an answer slot: before the first step, and after each.

    The solution's own answer line stays out, for a model that has just read an answer repeats it. So does its
    reasoning block, which has found the answer before the first step.
    """
    begin = answer_start(solution.text) or 0
    after = (solution.text[begin : step.start] + without_answer(step.text) for step in solution.steps)
    return [closer.removeprefix(separator), *(text + closer for text in after)]


async def _points(prompt: Prompt, solution: Solution, answers: list[str], asking: Asking) -> list[Point]:
    prefixes = states(solution, asking.settings.closer, asking.config.prompt.separator)
    return list(await asyncio.gather(*(_point(replace(prompt, prefix=p), answers, asking) for p in prefixes)))


async def _point(prompt: Prompt, answers: list[str], asking: Asking) -> Point:
    texts = [asking.settings.lead + answer for answer in answers]
    gold, *others = map(likelihood, await asking.scorer.logprob(prompt, texts))
    return Point(gold, tuple(others), await _confidence(prompt, asking))


async def _confidence(prompt: Prompt, asking: Asking) -> float | None:
    """SPAE's Conf: mean over sampled answers of exp(-mean entropy of their tokens); None without any.

    Entropy is estimated by one sample, -log p of the token drawn, because no backend gives the whole
    distribution of every token. p is the probability at temperature 1. So the estimate is unbiased where the
    answers are drawn at temperature 1. Drawn at the paper's 0.6, likely tokens come more often than p says,
    and the entropy comes out too low: .35 for a token of p = .8, .2, whose entropy is .50.
    """
    settings = asking.settings
    # Confidence needs sampled answers, the only part that costs more than a forward pass.
    if not settings.probes:
        return None
    seed = seed_of(settings.seed, "probe", prompt.text, prompt.prefix)
    # An answer ends with its line; what the model goes on to say is not part of it.
    sampling = Sampling(settings.temperature, 1.0, settings.probe_tokens, ("\n",), seed)
    drawn = await asking.policy.sample(prompt, settings.probes, sampling)
    # A failed call or an empty answer has no likelihood; as certain or uncertain it would shift the mean.
    texts = [completion.text for completion in drawn if completion.stopped != "error" and completion.text]
    # exp(mean log p) is exp(-entropy) with the sample's own surprise in place of the entropy.
    found = [x.geometric for x in map(likelihood, await asking.scorer.logprob(prompt, texts)) if x]
    return sum(found) / len(found) if found else None


async def _steps(prompt: Prompt, solution: Solution, asking: Asking) -> list[Sequence[float] | None]:
    """Log-probabilities of every step's own tokens: the policy's surprise."""
    asked = [
        asking.scorer.logprob(replace(prompt, prefix=solution.text[: step.start]), [step.text])
        for step in solution.steps
    ]
    return [found for (found,) in await asyncio.gather(*asked)]


async def _first_error(prompt: Prompt, solution: Solution, asking: Asking) -> list[float | None]:
    """Chance of every step to be the first error, by the markers after it; None where one cannot be scored.

    Steps before it carry the marker of right steps, which is what the chance is conditioned on.
    """
    nothing: list[float | None] = [None] * len(solution.steps)
    if asking.settings.markers is None:
        return nothing
    right, wrong = asking.settings.markers
    prefix, prompts = "", []
    for text in solution.step_texts():
        prompts.append(replace(prompt, prefix=prefix + text))
        prefix += text + right + asking.config.prompt.separator
    found = await asyncio.gather(*(asking.scorer.logprob(p, [right, wrong]) for p in prompts))
    ok, no = ([sum(pair[side] or ()) for pair in found] for side in (0, 1))
    # One step without a score leaves the whole distribution unknown, since its chances must sum to 1.
    if not all(pair[0] and pair[1] for pair in found):
        return nothing
    return list(signals.posterior(signals.first_error_scores(ok, no))[:-1])


def _rows(
    solution: Solution, along: list[Point], own: list[Sequence[float] | None], asking: Asking
) -> Iterator[dict[str, Any]]:
    """One row a step; `along` has one point more."""
    p = [point.gold.geometric if point.gold else None for point in along]
    logs = [point.gold.mean_log_prob if point.gold else None for point in along]
    phi = [
        None
        if point.gold is None or point.confidence is None
        else signals.potential(point.gold.arithmetic, point.confidence)
        for point in along
    ]
    risen, log_risen, lifted = signals.gains(p), signals.gains(logs), signals.gains(phi)
    known = [change for change in lifted if change is not None]
    # The bonus is scaled over the known changes of a solution; it is handed out to just those steps.
    bonuses = iter(signals.bonus(known))
    counts = signals.saturation(phi)
    for step, surprise in enumerate(own):
        point = along[step + 1]
        contrasted, negatives = _contrast(along[0], point)
        yield {
            "problem_id": solution.problem_id,
            "solution_id": solution.id,
            "step": step,
            "text": solution.steps[step].text,
            "model": (asking.settings.policy or asking.config.policy).model,
            "revision": asking.policy.revision,
            "prompt_digest": content_id(asking.solving.whole, asking.settings.closer, asking.settings.lead),
            "answer_tokens": point.gold.n_tokens if point.gold else None,
            "log_prob": point.gold.log_prob if point.gold else None,
            "p_before": p[step],
            "p": p[step + 1],
            "mean_token_p": point.gold.arithmetic if point.gold else None,
            "gain": risen[step],
            "log_gain": log_risen[step],
            "contrast": contrasted,
            "negatives": negatives,
            "confidence": point.confidence,
            "potential": phi[step + 1],
            "potential_gain": lifted[step],
            "penalty": signals.penalty(counts[step + 1]) if phi[step + 1] is not None else None,
            "bonus": next(bonuses) if lifted[step] is not None else None,
            "step_mean_log_prob": sum(surprise) / len(surprise) if surprise else None,
            "step_min_log_prob": min(surprise) if surprise else None,
        }


def _contrast(start: Point, here: Point) -> tuple[float | None, int]:
    """CPMI by mean log-probabilities, since answers differ in length, and the wrong answers it rests on."""
    pairs = [
        (a.mean_log_prob, b.mean_log_prob)
        for a, b in zip(start.negatives, here.negatives, strict=True)
        if a and b
    ]
    if start.gold is None or here.gold is None:
        return None, len(pairs)
    return signals.contrast((start.gold.mean_log_prob, here.gold.mean_log_prob), pairs), len(pairs)
