"""The arguments of every command, and their help.

Nothing heavy is imported here, so that `stepmint --help` answers in a fraction of a second.
"""

import argparse
from typing import Any

from flows import deploy, metrics, submitted, verify, watch, work
from flows.options import Parser, Version, add_no_prefect, add_output

_EXAMPLES = """\
examples:
  stepmint init problems.jsonl --server URL             look at problems and server, write a run file
  stepmint label solutions.jsonl --judge URL            label solutions that you have already
  stepmint run configs/embedded.toml                    label, train and evaluate; no GPU, no network
  stepmint run mine.toml --dry-run                      what would be done, and with which settings
  stepmint run mine.toml --set annotate.monte_carlo.rollouts=16  change one setting of the file
  stepmint plan mine.toml                               what it will take, from its first problems
  stepmint status runs/mine                             what is done, what is owed
  stepmint check runs/mine                              is everything as it was written?
  stepmint show runs/mine --first-errors                labelled solutions, step by step
  stepmint fuse runs/mine --set fusion.accept=0.9       new labels from the same votes
  stepmint export runs/mine --format trl --out mine.jsonl
  stepmint verify solutions.jsonl                       check the calculations of any solutions
  stepmint derive runs/mine quality                     another method's values from the same rollouts

An interrupted command goes on where it stopped: run it again.
"""


def parser() -> argparse.ArgumentParser:
    """Every command with its help."""
    top = Parser(
        prog="stepmint",
        description="Label the steps of solutions, train process reward models on them, and measure both.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action=Version, nargs=0, help="show program's version number and exit")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    _add_making(commands)
    _add_looking(commands)
    _add_giving(commands)
    metrics.add_arguments(*(commands.choices[name] for name in ("run", "label", "synthesize", "work")))
    return top


def _command(commands: Any, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    added: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_output(added)
    return added


def _add_set(added: argparse.ArgumentParser) -> None:
    added.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="change one setting of the run file, e.g. prompt.temperature=0.7; may be given several times",
    )


def _add_making(commands: Any) -> None:
    _add_init(commands)
    _add_label(commands)
    run = _command(
        commands,
        "run",
        "do every stage of a run file: label, train, evaluate",
        "stepmint run configs/embedded.toml",
    )
    run.add_argument("config", help="run file (TOML)")
    _add_set(run)
    submitted.add_arguments(run)

    synthesize = _command(
        commands,
        "synthesize",
        "label the problems of a run file and seal the dataset",
        "stepmint synthesize mine.toml",
    )
    synthesize.add_argument("config", help="run file (TOML)")
    _add_set(synthesize)
    add_no_prefect(run, synthesize)

    summary = "join a run on an object store: label its shards, beside any number of other machines"
    work.add_arguments(_command(commands, "work", summary, "stepmint work s3://bucket/runs/mine"))
    summary = "give a run file to a Prefect server, which runs it by a schedule"
    scheduled = _command(commands, "deploy", summary, 'stepmint deploy mine.toml --cron "0 2 * * *"')
    deploy.add_arguments(scheduled)
    _add_set(scheduled)
    _add_plan(commands)
    _add_remaking(commands)
    _add_training(commands)


def _add_remaking(commands: Any) -> None:
    fuse = _command(
        commands,
        "fuse",
        "make the labels of a run again from its recorded votes, without sampling",
        "stepmint fuse runs/mine --set fusion.accept=0.9",
    )
    fuse.add_argument("run", help="folder of a run")
    _add_set(fuse)
    fuse.add_argument(
        "--partial",
        action="store_true",
        help="seal what is done although problems are still owed (exit code 1; the manifest says how many)",
    )

    regrade = _command(
        commands,
        "regrade",
        "grade the stored rollouts of a run again, by the golds and the grader of today, without sampling",
        "stepmint regrade runs/mine",
    )
    regrade.add_argument("run", help="folder of a run")


def _add_init(commands: Any) -> None:
    init = _command(
        commands,
        "init",
        "look at your problems, try a server on one of them, and write a run file for both",
        "stepmint init problems.jsonl --server http://127.0.0.1:8000/v1",
    )
    init.add_argument(
        "data", metavar="DATA", help="file, folder or glob of problems, or OWNER/NAME on the Hub"
    )
    init.add_argument(
        "--server",
        default="",
        metavar="URL",
        help="server that solves the problems; without one the file has a simulated policy, to be replaced",
    )
    init.add_argument(
        "--model",
        default="",
        metavar="NAME",
        help="model to ask for (default: the one that the server lists)",
    )
    init.add_argument(
        "--judge-server", default="", metavar="URL", help="another server, whose model judges the steps"
    )
    init.add_argument(
        "--out", default="", metavar="FILE", help="run file to write (default: DATA's name .toml)"
    )
    for ours, what in (("text", "the problem's text"), ("answer", "the gold answer")):
        init.add_argument(
            f"--{ours}", default="", metavar="COLUMN", help=f"column with {what} (default: found by its name)"
        )
    init.add_argument("--force", action="store_true", help="replace a file that is there")


def _add_label(commands: Any) -> None:
    label = _command(
        commands,
        "label",
        "label the steps of solutions that exist already",
        "stepmint label solutions.jsonl\n"
        "  stepmint label solutions.jsonl --judge http://127.0.0.1:8000/v1 --model Qwen/Qwen3-8B\n"
        "  stepmint label solutions.jsonl --dry-run",
    )
    label.description = f"""{label.description}

A row holds a problem, its solution or solutions (`steps`, a list of texts; `solution`, a text; `candidates`,
a list of either) and perhaps the gold `answer`. Rows of ProcessBench, PRM800K, Math-Shepherd, PRMBench, TRL
and of our own datasets are known, too (docs/given.md). Labels that came with rows are kept beside ours.

Without a server, verifiers check the steps. --judge adds a model that reads them; --policy adds rollouts from
every step, for problems with a gold answer. An interrupted command goes on where it stopped: run it again."""
    label.add_argument("file", metavar="FILE", help="file, folder or glob, or OWNER/NAME on the Hub")
    for name, metavar, said in (
        ("--judge", "URL", "server whose model judges the steps"),
        ("--model", "NAME", "the judge's model (default: the one that the server lists)"),
        ("--policy", "URL", "server whose model continues the solutions: rollouts from every step"),
        ("--policy-model", "NAME", "its model (default: the one that the server lists)"),
        ("--out", "FOLDER", "folder of the run (default: runs/ and FILE's name)"),
        ("--text", "COLUMN", "column with the problem's text (default: found by its name)"),
        ("--answer", "COLUMN", "column with the gold answer (default: found by its name)"),
        ("--solution", "COLUMN", "column with the solution or solutions (default: found by its name)"),
    ):
        label.add_argument(name, default="", metavar=metavar, help=said)
    label.add_argument("--limit", type=int, metavar="N", help="only the first N problems")
    _add_set(label)
    label.add_argument("--dry-run", action="store_true", help="print the run file; label nothing")
    add_no_prefect(label)


def _add_plan(commands: Any) -> None:
    plan = _command(
        commands,
        "plan",
        "predict the calls, tokens, hours and cost of a run, before they are spent",
        "stepmint plan mine.toml --pilot 32 --price-per-hour 2.50\n"
        "  stepmint plan mine.toml --pass-rate 0.3 --tokens-per-solution 250 --tokens-per-second 9000",
    )
    plan.description = f"""{plan.description}

A pilot labels the first problems of the run with its own policy and predicts the rest from what they
took. They are the run's own beginning: `stepmint run` goes on after them, and nothing is paid twice.
With --pass-rate nothing is sampled: the run's methods are tried out on a simulated policy instead.

Each figure has a 90% interval. It knows how problems differ, not how far a stated number is wrong.
Sealing the run writes beside the prediction what it took (`plan` in manifest.json)."""
    plan.add_argument("config", help="run file (TOML)")
    _add_set(plan)
    plan.add_argument("--pilot", type=int, default=16, metavar="N", help="problems to label now (default 16)")
    numbers = (
        ("--pass-rate", None, "share of the policy's solutions that are right, instead of a pilot"),
        ("--tokens-per-solution", 0.0, "tokens of a whole solution; needed with --pass-rate"),
        ("--tokens-per-second", None, "speed of the policy, instead of the pilot's"),
        ("--price-per-hour", None, "price of the machine, for the cost"),
    )
    for name, default, said in numbers:
        plan.add_argument(name, type=float, default=default, metavar="X", help=said)
    plan.add_argument(
        "--steps", type=int, default=8, metavar="N", help="steps of a solution with --pass-rate (default 8)"
    )


def _add_training(commands: Any) -> None:
    train = _command(
        commands, "train", "train a PRM on a sealed run", "stepmint train runs/mine --set train.epochs=2"
    )
    train.add_argument("run", metavar="RUN|CONFIG", help="folder of a run, or its run file")
    _add_set(train)
    train.add_argument(
        "--out", default="", help="folder of the checkpoint (default: checkpoints/NAME beside runs)"
    )
    train.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would be learnt, and one row token by token; do nothing",
    )
    add_no_prefect(train)

    selftrain = _command(
        commands,
        "selftrain",
        "let a policy learn from its own right solutions, round by round, with a value model beside it",
        "stepmint selftrain mine.toml --set self_train.rounds=3",
    )
    selftrain.add_argument("config", help="run file (TOML)")
    _add_set(selftrain)
    add_no_prefect(selftrain)

    evaluate = _command(
        commands,
        "evaluate",
        "measure a PRM on solutions whose first error is known",
        "stepmint evaluate checkpoints/mine processbench/gsm8k.jsonl",
    )
    evaluate.add_argument("checkpoint", help="folder of a PRM")
    evaluate.add_argument(
        "on",
        nargs="*",
        metavar="FILE|RUN",
        help="JSONL files (also .gz) in ProcessBench's format, or a run on embedded problems, for new "
        "held-out ones; without any: the figures recorded at training",
    )


def _add_looking(commands: Any) -> None:
    show = _command(
        commands,
        "show",
        "print labelled solutions with the votes behind them",
        "stepmint show runs/mine -n 5",
    )
    show.add_argument("run", help="folder of a sealed run")
    which = show.add_mutually_exclusive_group()
    which.add_argument("--id", default="", help="only the solution or problem whose id begins like this")
    which.add_argument(
        "--first-errors", action="store_true", help="only solutions with an established first error"
    )
    show.add_argument("-n", type=int, default=3, help="at most so many solutions (default 3)")

    report = _command(
        commands,
        "report",
        "print the figures of a sealed run, and how its labels agree with gold labels where it has any",
        "stepmint report runs/mine",
    )
    report.add_argument("run", help="folder of a sealed run")

    status = _command(
        commands,
        "status",
        "say what a run has done, owes, and set aside (exit code 1 while it owes something)",
        "stepmint status runs/mine",
    )
    status.add_argument("run", help="folder of a run")
    watch.add_arguments(status)

    check = _command(
        commands,
        "check",
        "compare everything a run has on disk with its checksums (exit code 1 while something is wrong)",
        "stepmint check runs/mine --repair",
    )
    check.add_argument("run", help="folder of a run")
    check.add_argument(
        "--repair",
        action="store_true",
        help="mend what the journal and the source of the problems can mend",
    )

    _add_verify(commands)
    _add_doctor(commands)


def _add_doctor(commands: Any) -> None:
    doctor = _command(
        commands,
        "doctor",
        "say what this machine and environment can do, or what the policies of a run file do",
        "stepmint doctor --policy mine.toml",
    )
    doctor.add_argument(
        "--policy",
        default="",
        metavar="FILE",
        help="ask the policy, judge and prover of a run file a few short questions, and say whether a run "
        "could use them (exit code 1 when not)",
    )
    _add_set(doctor)


def _add_verify(commands: Any) -> None:
    added = _command(
        commands,
        "verify",
        "check the calculations and equations of solutions, step by step, without a model",
        "stepmint verify solutions.jsonl --only fails",
    )
    verify.add_arguments(added)


def _add_giving(commands: Any) -> None:
    export = _command(
        commands,
        "export",
        "write a run's rows in the format of another tool",
        "stepmint export runs/mine --format processbench --out mine.jsonl",
    )
    export.add_argument("run", help="folder of a sealed run")
    export.add_argument(
        "--format",
        required=True,
        help="trl, prm800k, math_shepherd, processbench, or a function of yours as package.module:function",
    )
    export.add_argument("--out", required=True, help="JSONL file to write")
    export.add_argument("--kept", action="store_true", help="only rows that the consensus filter keeps")

    derive = _command(
        commands,
        "derive",
        "derive another method's values from what a sealed run has stored",
        "stepmint derive runs/mine advantage --set best_of=4",
    )
    derive.add_argument("run", help="folder of a sealed run")
    methods = ("advantage progress scan compression quality similarity fork signals unit_tests").split()
    derive.add_argument("method", choices=methods, metavar="METHOD", help="one of %(choices)s")
    derive.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one setting of the method, e.g. gamma=0.9; may be given several times",
    )
    derive.add_argument("--out", default="", help="Parquet file (default: RUN/derived/METHOD.parquet)")

    publish = _command(
        commands,
        "publish",
        "put a run's dataset or a PRM on the Hugging Face Hub",
        "stepmint publish runs/mine me/my-steps --public",
    )
    publish.add_argument("run", metavar="RUN|CHECKPOINT", help="folder of a sealed run or of a PRM")
    publish.add_argument("repo", metavar="OWNER/NAME", help="repository; made if there is none")
    publish.add_argument(
        "--public", action="store_true", help="make a new repository public (default: private)"
    )
    publish.add_argument("--dry-run", action="store_true", help="print the card; send nothing")
    add_no_prefect(publish)
