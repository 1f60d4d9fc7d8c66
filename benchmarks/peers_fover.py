"""The checker of proofs beside FoVer's own (arXiv 2505.15960), on proofs of the generator that FoVer uses.

FoVer is in no registry. The bench fetches nothing: `STEPMINT_PEER_FOVER` names a checkout of
github.com/psunlpgroup/FoVer, beside which stands one of github.com/hitachi-nlp/FLD-generator, called
FLD-generator, as FoVer's own setup has it.
"""

import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.peers_fover_process import Proof
from verifiers.logic.formulas import Unparsed, parse_formula
from verifiers.logic.shapes import Shape, shape

VARIABLE = "STEPMINT_PEER_FOVER"
PROOFS, PASSES = 150, 3
_ARGUMENTS = "configs/arguments/axioms"
_PROCESS = Path(__file__).with_name("peers_fover_process.py")
_PREDICATES = [*"ABCDEFGHIJKLMNOPQRSTU", *(f"A{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTU")]
_CONSTANTS = [*"abcdefghijklmnopqrstu", *(f"a{letter}" for letter in "abcdefghijklmnopqrstu")]
_SAME = {"VALID": "correct", "TAUTOLOGY": "correct", "VACUOUS": "correct", "INVALID": "wrong_implication"}
"""What FoVer says where we give a verdict: it calls a step correct that follows from premises that clash."""


def fover() -> dict[str, Any]:
    """Steps/s of our checker of proofs beside FoVer's, on one core, on proofs of the generator that FoVer
    uses, each for the first time; in the details also where every shape of a step is new, where shapes repeat
    under other names, and how often the verdicts agree, also on proofs with a wrong citation."""
    checkouts = _checkouts()
    with _process("generate", checkouts) as ask:
        asked = {"arguments": str(checkouts[1] / _ARGUMENTS), "seed": 0, "n": PROOFS}
        proofs: list[Proof] = ask(asked)
    rng = random.Random(0)
    sets = {
        "proofs": [proofs],
        "the same again": [proofs] * PASSES,
        "every shape new": [_distinct(proofs)],
        "shapes repeat": [[_renamed(proof, rng) for proof in proofs] for _ in range(PASSES)],
        "a wrong citation": [[_spoilt(proof, rng) for proof in proofs]],
    }
    rates, agreed = {}, Counter[str]()
    for name, passes in sets.items():
        rates[name], verdicts = _beside(passes, checkouts)
        agreed.update(verdicts)
    of = sum(agreed.values()) - agreed["dropped by FoVer"]
    return {
        "value": rates["proofs"]["ours"],
        "unit": "steps/s",
        "baseline": rates["proofs"]["fover"],
        "n": int(rates["proofs"]["steps"]),
        "details": {"steps_per_s": rates, "agreement": agreed["agree"] / of, "verdicts": dict(agreed)},
    }


def _checkouts() -> tuple[Path, Path]:
    """FoVer's folder and the generator's. ModuleNotFoundError, by which a bench is skipped, without them."""
    named = os.environ.get(VARIABLE, "")
    found = Path(named).resolve(), Path(named).resolve().parent / "FLD-generator"
    if not named or not (found[0] / "src").is_dir() or not (found[1] / "FLD_generator").is_dir():
        where = f"FoVer: set {VARIABLE} to a checkout, with one of FLD-generator beside it"
        raise ModuleNotFoundError(where, name=where)
    return found


@contextmanager
def _process(task: str, checkouts: tuple[Path, Path]) -> Iterator[Any]:
    """A fresh process, with empty caches, as a function from a question to its answer."""
    # Only then does the generator, which goes through sets, draw the same proofs again.
    settings = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-W", "ignore", str(_PROCESS), task, *map(str, checkouts)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=settings, **pipes) as process:

        def ask(question: Any) -> Any:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        assert process.stdin is not None
        process.stdin.close()


def _beside(passes: list[list[Proof]], checkouts: tuple[Path, Path]) -> tuple[dict[str, float], Counter[str]]:
    """Steps/s of both, by the best pass, and how their verdicts compare."""
    best = {"ours": 0.0, "fover": 0.0}
    verdicts = Counter[str]()
    with ExitStack() as opened:
        asks = {name: opened.enter_context(_process(name, checkouts)) for name in best}
        # The passes take turns, so that other work on the machine slows both.
        for proofs in passes:
            answers = {name: ask(proofs) for name, ask in asks.items()}
            steps = sum(len(proof["lines"]) for proof in proofs)
            best = {name: max(best[name], steps / answers[name]["seconds"]) for name in best}
            for ours, theirs in zip(answers["ours"]["found"], answers["fover"]["found"], strict=True):
                verdicts.update(_compared(ours, theirs))
    return {name: round(rate, 1) for name, rate in best.items()} | {"steps": steps}, verdicts


def _compared(ours: list[str], theirs: list[str] | None) -> Iterator[str]:
    if theirs is None:
        yield from ["dropped by FoVer"] * len(ours)
        return
    for one, other in zip(ours, theirs, strict=True):
        yield "agree" if _SAME.get(one) == other else f"{one}, FoVer {other}"


def _distinct(proofs: list[Proof]) -> list[Proof]:
    """Every step as a proof of its own, one of each shape."""
    found: dict[Shape, Proof] = {}
    for proof in proofs:
        said = {f"fact{number}": fact for number, fact in enumerate(proof["facts"], 1)}
        for line in proof["lines"]:
            cited, _, concluded = line.partition(" -> ")
            name, _, formula = concluded.partition(": ")
            goal = formula or proof["hypothesis"]
            facts = [said[ref] for ref in cited.split(" & ")]
            said[name] = goal
            refs = " & ".join(f"fact{number}" for number in range(1, len(facts) + 1))
            try:
                key = shape([parse_formula(fact) for fact in facts], parse_formula(goal))
            except Unparsed:
                continue
            found.setdefault(key, {"facts": facts, "hypothesis": goal, "lines": [f"{refs} -> hypothesis"]})
    return list(found.values())


def _renamed(proof: Proof, rng: random.Random) -> Proof:
    """The proof with other predicates and constants."""
    found = sorted(set(re.findall(r"\{(\w+)\}", " ".join([*proof["facts"], *proof["lines"]]))))
    upper, lower = ([name for name in found if name.isupper() == up] for up in (True, False))
    new = dict(zip(upper, rng.sample(_PREDICATES, len(upper)), strict=True))
    new |= dict(zip(lower, rng.sample(_CONSTANTS, len(lower)), strict=True))

    def put(text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda name: f"{{{new.get(name[1], name[1])}}}", text)

    return {
        "facts": [put(fact) for fact in proof["facts"]],
        "hypothesis": put(proof["hypothesis"]),
        "lines": [put(line) for line in proof["lines"]],
    }


def _spoilt(proof: Proof, rng: random.Random) -> Proof:
    """The proof with one of its citations exchanged for another fact."""
    at = rng.randrange(len(proof["lines"]))
    cited, _, concluded = proof["lines"][at].partition(" -> ")
    refs = cited.split(" & ")
    refs[rng.randrange(len(refs))] = f"fact{rng.randint(1, len(proof['facts']))}"
    line = f"{' & '.join(refs)} -> {concluded}"
    return {**proof, "lines": [*proof["lines"][:at], line, *proof["lines"][at + 1 :]]}
