"""The process that `peers.fover` starts: it generates proofs with the peer's code, or checks proofs.

    python peers_fover_process.py fover|ours|generate FOVER FLD_GENERATOR

It reads one JSON value a line and answers each with a line. It is run as a file, since the peer's packages
are imported from checkouts, under names such as `src`.
"""

import builtins
import importlib
import json
import logging
import random
import sys
import time
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

_GENERATION_S = 240
Proof = dict[str, Any]
"""`facts` and `hypothesis` are formulas, `lines` are `fact1 & int1 -> int2: formula`."""


def main(task: str, *checkouts: str) -> None:
    """Answer every line of the standard input."""
    sys.path[:0] = checkouts
    work: Callable[[Any], Any] = {"fover": _timed(_fover), "ours": _timed(_ours), "generate": _generate}[task]
    for line in sys.stdin:
        print(json.dumps(work(json.loads(line))), flush=True)


def _timed(checker: Callable[[], Callable[[Proof], list[str] | None]]) -> Callable[[list[Proof]], Any]:
    """A function that checks proofs, and says what it found and how many seconds of the CPU it took.

    The checker is loaded when the first proofs arrive, before the clock starts."""
    loaded: list[Callable[[Proof], list[str] | None]] = []

    def work(proofs: list[Proof]) -> Any:
        check = (loaded or loaded.append(checker()) or loaded)[0]
        start = time.process_time()
        found = [check(proof) for proof in proofs]
        return {"found": found, "seconds": time.process_time() - start}

    return work


def _ours() -> Callable[[Proof], list[str] | None]:
    from verifiers.proofs.proof_lines import check_proof

    def check(proof: Proof) -> list[str]:
        facts = {f"fact{number}": fact for number, fact in enumerate(proof["facts"], 1)}
        found = check_proof(facts, ";\n".join(proof["lines"]), proof["hypothesis"], "PROVED")
        return [step.inference.verdict for step in found.steps]

    check({"facts": ["{A}"], "lines": ["fact1 -> hypothesis"], "hypothesis": "{A}"})  # builds the parser
    return check


def _fover() -> Callable[[Proof], list[str] | None]:
    _stand_in()
    verifier = importlib.import_module("src.dataset_creation.base_dataset_specific.fol.verifier.verifier")

    def check(proof: Proof) -> list[str] | None:
        facts = "\n".join(f"fact{number}: {fact}" for number, fact in enumerate(proof["facts"], 1))
        said = "$proof$:\n" + "".join(f"{line};\n" for line in proof["lines"]) + "\n$proof_label$: PROVED"
        try:
            found = verifier.verify_fld_proof_steps(said, facts, proof["hypothesis"], "PROVED")
        except Exception:  # noqa: BLE001 - FoVer drops an instance that its checker raises on
            return None
        labels: list[str] = found["proof_step_labels"]
        return labels

    check({"facts": ["{A}"], "lines": ["fact1 -> hypothesis"], "hypothesis": "{A}"})
    return check


def _generate(asked: dict[str, Any]) -> list[Proof]:
    """Proofs without assumptions, as FoVer keeps them; fewer where the time runs out."""
    _stand_in()
    trees = importlib.import_module("FLD_generator.proof_tree_generators")
    generator = trees.build(
        [asked["arguments"]],
        elim_dneg=True,
        complex_formula_arguments_weight=0.5,
        quantifier_axiom_arguments_weight=0.2,
        quantifier_axioms=["universal_quantifier_elim", "existential_quantifier_intro"],
    )
    random.seed(asked["seed"])
    found: list[Proof] = []
    start = time.monotonic()
    while len(found) < asked["n"] and time.monotonic() - start < _GENERATION_S:
        try:
            tree = generator.generate_tree(random.randint(1, 4), branch_extension_steps=random.randint(0, 4))
        except Exception:  # noqa: BLE001, S112 - the generator gives up on a tree with one of many errors
            continue
        if not any(node.is_assump for node in tree.nodes):
            found.append(_proof(tree))
    return found


def _proof(tree: Any) -> Proof:
    names = {id(leaf): f"fact{number}" for number, leaf in enumerate(tree.leaf_nodes, 1)}
    lines = []
    for number, node in enumerate(_in_order(tree.root_node), 1):
        cited = " & ".join(names[id(child)] for child in node.children)
        names[id(node)] = f"int{number}"
        last = node is tree.root_node
        lines.append(f"{cited} -> hypothesis" if last else f"{cited} -> int{number}: {node.formula.rep}")
    facts = [leaf.formula.rep for leaf in tree.leaf_nodes]
    return {"facts": facts, "hypothesis": tree.root_node.formula.rep, "lines": lines}


def _in_order(node: Any) -> Iterator[Any]:
    for child in node.children:
        yield from _in_order(child)
    if node.children:
        yield node


def _stand_in() -> None:
    """Empty modules for what the peer imports and does not need to check or generate formulas."""
    logging.disable(logging.CRITICAL)
    # The generator's modules wrap functions in `@profile`, which the library would put among the builtins.
    vars(builtins).setdefault("profile", lambda function: function)
    needed = {
        "line_profiling": {},
        "nltk": {},
        "nltk.corpus": {"cmudict": SimpleNamespace(dict=dict)},
        "timeout_decorator": {"timeout": lambda *_, **__: lambda function: function},
    }
    for name, contents in needed.items():
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            module = ModuleType(name)
            vars(module).update(contents)
            sys.modules[name] = module


if __name__ == "__main__":
    main(*sys.argv[1:])
