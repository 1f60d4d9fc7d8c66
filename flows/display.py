"""Prints the results of commands in a terminal: one function for each command, with its name.

Problems and steps are written by models. Their texts are never read as markup, and are printed without
control characters, which could move the cursor or change the terminal's settings.
"""

import sys
import time

from rich.text import Text

from flows import fidelity, solutions
from flows.printing import Result, add_row, figures, flat, new_table, say, show_item, value_of
from flows.verify import summary
from schemas.places import is_url
from schemas.text import one_line, shown

_HOLDS = {True: ("yes", "green"), False: ("no", "yellow"), None: ("cannot tell", "yellow")}
# Keys that are no figures of what was sealed. Remarks are printed on stderr.
_APART = ("run", "remarks", "unread", "checkpoint", "training", "evaluation")
_REASON = 200
"""Characters that are printed of a reason: some hold a part of a reply."""


def init(result: Result) -> None:
    """Print what was found in the data, what the servers do, one solved problem, and the file's name."""
    about = result["problems"]
    rows = f"{about['rows']:,} rows" if about["all_rows"] else f"the first {about['rows']:,} rows"
    say(f"problems    {about['taken']}")
    say(f"            {rows}: {about['usable']:,} usable, {about['set_aside']:,} set aside")
    for reason, n in about["reasons"].items():
        say(f"            {n:,} row{'s' * (n > 1)}: {one_line(reason, 200)}")
    kinds = ", ".join(f"{n:,} {kind}" for kind, n in about["gold_answers"].items())
    several = f"; {about['several_answers']:,} accept several" if about["several_answers"] else ""
    say(f"            gold answers: {kinds}{several}")
    for role, found in result["policies"].items():
        _probe(role, found)
    solutions.tried(result["solved"])
    if result["simulated"]:
        say("no --server: its simulated policy only ever answers `right` or `wrong`; replace its [policy]")
    say(f"written: {result['out']}; go on with: stepmint run {result['out']}")


def run(result: Result) -> None:
    """Print the figures of a whole run; for --dry-run its stages."""
    if "stages" in result:
        _plan(result)
        return
    if "said" in result:
        say(result["said"])
        return
    far = is_url(result.get("run", ""))
    (work if far else _dataset)(result)
    for part in ("training", "evaluation"):
        if part in result:
            figures(part, result[part])
    if "checkpoint" in result:
        say(f"checkpoint  {result['checkpoint']}")
    if not far:
        _aside(result, result["path"])
        say(f"look inside: stepmint show {result['path']} --first-errors")


def label(result: Result) -> None:
    """Print the figures of the labelled solutions; for --dry-run the run file as it is, to be saved."""
    if "run_file" in result:
        sys.stdout.write(result["run_file"])
        return
    run(result)


def synthesize(result: Result) -> None:
    """Print the figures of the sealed dataset."""
    if is_url(result["run"]):
        work(result)
        return
    figures("sealed", {key: value for key, value in result.items() if key not in _APART})
    _aside(result, result["run"])
    say(f"look inside: stepmint show {result['run']} --first-errors")


def work(result: Result) -> None:
    """Print what this worker did, and the figures of the sealed dataset."""
    figures("sealed", {key: value for key, value in result.items() if key not in _APART})
    say(f"look inside: stepmint show {result['run']} --first-errors")


def report(result: Result) -> None:
    """Print the figures of a sealed dataset."""
    _dataset(result)
    if "fidelity" not in result:
        say("no solution has gold labels, so nothing is compared with them (docs/fidelity.md)")


def fuse(result: Result) -> None:
    """Print the figures of the new labels."""
    _dataset(result)


def regrade(result: Result) -> None:
    """Print how many problems have another outcome now."""
    figures("graded again", {key: value for key, value in result.items() if key != "run"})
    if result["owed"]:
        say(f"{result['owed']} problems are owed: `stepmint run` with the run's file draws what they need")


def train(result: Result) -> None:
    """Print what was measured in training; for --dry-run what would be learnt."""
    if "dry_run" in result:
        found = result["dry_run"]
        figures("training", {key: value for key, value in found.items() if key != "first_row"})
        for line in found["first_row"]:
            say(shown(line))
        return
    figures("training", {key: value for key, value in result.items() if key != "checkpoint"})
    say(f"checkpoint  {result['checkpoint']}")


def selftrain(result: Result) -> None:
    """Print a line for each round, and where the last models are."""
    table = new_table("round", "problems solved", "of", "learnt from", "policy loss", "value loss")
    for item in result["rounds"]:
        policy, value = item["policy"], item["value"]
        figures_of = (
            item["round"],
            policy["correct"],
            policy["n"],
            policy["solutions"],
            policy["loss"],
            value["loss"],
        )
        add_row(table, *map(str, figures_of))
    show_item(table)
    say(f"policy       {result['policy']}")
    say(f"value model  {result['value_model']}")


def evaluate(result: Result) -> None:
    """Print one table for each file or run that was measured on."""
    if result.get("training"):
        figures("training", result["training"])
    for name, found in result.get("evaluation", {}).items():
        figures(name, found)


def plan(result: Result) -> None:
    """Print what a run will take, and what the prediction was made from."""
    table = new_table("prediction", "", "low", "high", right=3)
    for name in ("calls", "completions", "tokens", "gpu_hours", "cost", "reached"):
        if found := result[name]:
            ends = (_amount(found[key]) for key in ("value", "low", "high"))
            add_row(
                table, "problems within budget.run" if name == "reached" else name.replace("_", " "), *ends
            )
    show_item(table)
    purposes = ", ".join(f"{name} {_amount(n)}" for name, n in result["purposes"].items())
    say(f"tokens by purpose: {purposes}")
    where = "of this run, labelled and kept" if result["origin"] == "pilot" else "simulated at the pass rate"
    say(f"predicted for {result['problems']:,} problems from {result['sampled']:,} {where}; 90% intervals")
    say(f"the dearest of them took {result['dearest']:,} tokens")
    if result["tokens_per_second"]:
        say(f"at {_amount(result['tokens_per_second'])} tokens/s; more problems at once may go faster")
    else:
        say("hours and cost need a speed: --tokens-per-second, and --price-per-hour")


def show(result: Result) -> None:
    """Print solutions step by step."""
    for row in result["rows"]:
        solutions.labelled(row)
    if not result["rows"]:
        say("no such rows")


def verify(result: Result) -> None:
    """Print steps with their claims underlined and the reasons below, then the counts and the speed."""
    start, before = time.perf_counter(), ""
    for line in result["lines"]:
        if line["id"] != before:
            show_item(Text(f"\n{shown(line['id'])}", style="bold"))
            before = line["id"]
        solutions.reviewed(line)
    counts, seconds = result["counts"], time.perf_counter() - start
    total = sum(counts.values())
    shares = ", ".join(f"{n:,} {verdict}" for verdict, n in counts.items())
    say(f"\n{result['file']}: {total:,} steps: {shares}; {total / seconds:,.0f} steps/s")
    for summed in summary(result):
        say(summed)


def deploy(result: Result) -> None:
    """Print what the server has now, and what it still needs."""
    say(f"deployment  {result['deployment']}: {result['schedule'] or 'without a schedule'}")
    kind = f"new, {result['pool_type']}" if result["pool_made"] else result["pool_type"]
    say(f"pool        {result['pool']} ({kind}): prefect worker start --pool {result['pool']}")
    for name in result["automations"]:
        say(f"automation  {name}")
    say(f"run it now: prefect deployment run {result['deployment']}")


def status(result: Result) -> None:
    """Print the state of each shard, then why problems are owed, and what is in quarantine."""
    if not result["shards"]:
        say(f"{result['run']}: the problems have not been read yet")
        return
    budget = result["budget"]
    columns = ("shard", "done", "owed", "failed", *(("beyond",) if budget["beyond"] else ()))
    table = new_table(*columns)
    for item in result["shards"]:
        add_row(table, *(str(item[key]) for key in columns))
    show_item(table)
    done = sum(item["done"] for item in result["shards"])
    state = "sealed" if result["sealed"] else "open"
    tokens = sum(result["tokens"].values())
    say(
        f"{result['run']}: {state}, {done} of {result['problems']} problems done, {tokens:,} tokens generated"
    )
    if read := _prompt_tokens(result):
        say(f"prompt tokens: {read}")
    _budget(budget)
    _damage(result)
    for reason, n in list(result["reasons"].items())[:3]:
        say(f"owed, {n} times: {shown(reason)}")
    aside = result["quarantined"]
    for item in aside[:5]:
        where = f"{item['file']} row {item['row']}" if item["row"] is not None else item["file"]
        say(one_line(f"set aside: {where}: {item['reason']}"))
    if len(aside) > 5:
        say(f"... and {len(aside) - 5} more: stepmint status --json")


def check(result: Result) -> None:
    """Print what was mended, what is still wrong, and whether --repair would help."""
    for what in result["repaired"]:
        say(f"mended: {shown(what)}")
    for why in result["failed"]:
        say(f"not mended: {shown(why)}")
    _damage(result)
    if not result["damaged"]:
        say(f"{result['run']}: everything is as it was written")
    elif result["repairable"] and not result["failed"]:
        many = f"{result['repairable']} of {len(result['damaged'])}"
        say(f"stepmint check {result['run']} --repair may mend {many}")


def _damage(result: Result) -> None:
    for what in result["damaged"]:
        say(f"damaged: {shown(what)}")


def _budget(budget: Result) -> None:
    """Print what the budgets cut off, and how to go on."""
    if budget["cut"]:
        most = budget["per_problem"]
        say(f"{budget['cut']:,} problems reached budget.per_problem = {most:,}; what was cut off abstains")
    if budget["beyond"]:
        say(
            f"stopped for its budget: {budget['beyond']:,} problems lie beyond budget.run = "
            f"{budget['run']:,}; raise it and give the same command again to do them"
        )


def export(result: Result) -> None:
    """Print where the rows went; on stderr if the rows themselves went to standard output."""
    left = (
        f"; {result['left_out']} left out that {result['format']} cannot express"
        if result["left_out"]
        else ""
    )
    line = f"{result['written']} rows written to {result['out']}{left}"
    if result.get("piped"):
        print(shown(line), file=sys.stderr)
    else:
        say(line)


def derive(result: Result) -> None:
    """Print where the values went, and with which settings they were derived."""
    settings = ", ".join(f"{key}={value}" for key, value in result["settings"].items())
    say(f"{result['rows']} rows of {result['method']} written to {result['out']}")
    say(f"settings: {settings or 'none'}")


def publish(result: Result) -> None:
    """Print the card (--dry-run), or the address on the Hub."""
    say(result.get("card") or result["address"])


def doctor(result: Result) -> None:
    """Print what is installed and what is missing; or what each policy of a run file does."""
    if "policies" in result:
        for role, found in result["policies"].items():
            _probe(role, found)
        return
    table = new_table("", "")
    for name, value in flat(result):
        add_row(
            table, name, Text(shown(value_of(value)), style="" if value not in (None, False) else "yellow")
        )
    show_item(table)


def _probe(role: str, found: Result) -> None:
    table = new_table(f"{role}: {shown(found['kind'])} {shown(found['model'])}", "", "")
    for finding in found["findings"]:
        sign, style = _HOLDS[finding["holds"]]
        table.add_row(Text(finding["what"]), Text(sign, style=style), Text(shown(finding["said"])))
    show_item(table)
    for note in found["notes"]:
        say(f"note: {shown(note)}")
    say(shown(f"a run would be refused: {found['refused']}" if found["refused"] else "a run can use it"))


def _aside(result: Result, run: str) -> None:
    if result["quarantined"]:
        say(f"{result['quarantined']:,} rows or solutions were set aside; why: stepmint status {run}")


def _dataset(result: Result) -> None:
    table = new_table("dataset", "", right=1)
    for name in ("problems", "solutions", "steps", "labelled_steps", "quarantined"):
        add_row(table, name.replace("_", " "), f"{result[name]:,}")
    # Judges' replies are among them, so a run may have some in which nothing was rolled out.
    add_row(table, "completions", f"{result['rollouts']:,}")
    for reason, n in result["skipped"].items():
        add_row(table, f"skipped: {reason}", f"{n:,}")
    for reason, n in result["consensus"]["dropped"].items():
        add_row(table, f"dropped by consensus: {reason}", f"{n:,}")
    if result["merged"]:
        add_row(table, "equal solutions merged", f"{result['merged']:,}")
    if result["ungraded"]:
        add_row(table, "without a gold answer", f"{result['ungraded']:,}")
    add_row(table, "tokens", f"{result['tokens']['total']:,}")
    if read := _prompt_tokens(result):
        add_row(table, "prompt tokens", read)
    show_item(table)
    if "budget" in result:
        _budget(result["budget"])
    if "plan" in result:
        _off(result["plan"])
    _sources(result["sources"])
    if agreement := result.get("fidelity"):
        fidelity.table(agreement)


def _sources(counts: Result) -> None:
    """Print how often each source voted, said no and abstained, and why it abstained."""
    voted = new_table("source", "votes", "no", "abstained", right=3)
    silent = new_table("abstained", "because", "votes", right=1)
    for name, count in counts.items():
        add_row(voted, name, *(value_of(count[key]) for key in ("votes", "denied", "abstained")))
        for nth, (reason, n) in enumerate(count["reasons"].items()):
            add_row(silent, "" if nth else name, one_line(reason, _REASON), f"{n:,}")
    show_item(voted)
    if silent.row_count:
        show_item(silent)


def _prompt_tokens(result: Result) -> str:
    """How many there were, and the share that did not have to be read again; empty where no engine tells."""
    found = result.get("prompt_tokens") or {"total": 0}
    if not found["total"]:
        return ""
    cached = f", {found['cached'] / found['total']:.0%} of them cached" if found["cached"] else ""
    return f"{found['total']:,}{cached}"


def _off(plan: Result) -> None:
    """Print the prediction beside what the run really took."""
    table = new_table("planned", "predicted", "actual", "ratio", right=3)
    for name, ratio in plan["ratio"].items():
        predicted, actual = plan["predicted"][name], plan["actual"][name]
        add_row(table, name.replace("_", " "), _amount(predicted), _amount(actual), f"{ratio:.2f}")
    show_item(table)


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _plan(result: Result) -> None:
    import tomli_w

    from pipeline.storage.recorded import without_none

    say(tomli_w.dumps(without_none(result["config"])).rstrip())
    say(f"\n# digest {result['digest']}, fusion {result['fusion_digest']}")
    say(f"# stages: {', '.join(result['stages'])}")
    # Whether a run is on an object store is not looked up.
    state = "" if is_url(result["path"]) else " (goes on where it stopped)" if result["exists"] else " (new)"
    say(f"# run: {result['path']}{state}")
    if result["checkpoint"]:
        say(f"# checkpoint: {result['checkpoint']}")
    if base := result["base"]:
        say(
            f"# base: {base['model']} ({base['type']}), step token {base['step_token']}, at most "
            f"{base['max_length']:,} tokens, {base['unknown']:.1%} of the problems' text unknown to it"
        )
        if base["problems_too_long"]:
            say(f"# too long for it: {base['problems_too_long']} of {base['problems_tried']} problems tried")
