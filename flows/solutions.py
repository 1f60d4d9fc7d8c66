"""How solutions and their steps look in a terminal: tried out, checked by verifiers, or labelled."""

from rich.text import Text

from flows.printing import Result, add_row, new_table, say, show_item
from schemas.text import one_line, shown

_SIGNS = {1: ("right", "green"), 0: ("WRONG", "bold red"), None: ("-", "dim")}
_VERDICTS = {"holds": ("holds", "green"), "fails": ("FAILS", "bold red"), "abstains": ("-", "yellow")}


def tried(solved: Result) -> None:
    """One problem that `stepmint init` had solved."""
    say(f"problem     {one_line(solved['problem'], 300)}")
    if not solved["steps"]:
        say(f"            not solved: {solved['why']}; it wrote {one_line(solved['text'], 300)!r}")
        return
    for number, step in enumerate(solved["steps"]):
        say(f"step {number:<7}{one_line(step['text'], 300)}")
        for vote in step["votes"]:
            say(f"            {vote['source']}: {vote['said']}  {one_line(vote['why'], 200)}".rstrip())
    golds = " or ".join(solved["golds"]) or "none"
    say(f"answer      {solved['answer']}; gold {golds}: {solved['outcome']}")


def reviewed(line: Result) -> None:
    """A step with its claims underlined, and the reasons of those that do not hold below it."""
    sign, style = _VERDICTS[line["verdict"]]
    text = Text(shown(line["text"]))
    for finding in line["findings"]:
        text.stylize(f"underline {_VERDICTS[finding['verdict']][1]}", *finding["span"])
    show_item(Text.assemble((f"{line['step']:>3} ", "dim"), (f"{sign:<8} ", style), text))
    for finding in line["findings"]:
        if finding["verdict"] != "holds":
            reason = f"{finding['by']}: {shown(finding['reason'])}"
            show_item(Text(f"             {reason}", style=_VERDICTS[finding["verdict"]][1]))


def labelled(row: Result) -> None:
    """A row of a dataset: its verdict, and a line a step with its label and the votes behind it."""
    first = row["first_error"]
    verdict = (
        "first error not established"
        if first is None
        else "no error"
        if first < 0
        else f"first error: step {first}"
    )
    head = Text(f"solution {shown(row['solution_id'])}", style="bold")
    head.append(f"  answer {shown(row['answer'] or 'none')} ({row['outcome']}), {verdict}", style="not bold")
    if not row["kept"]:
        head.append(f"  dropped: {shown(row['consensus'])}", style="yellow")
    show_item(head)
    show_item(Text(shown(row["problem"]), style="italic"))
    table = new_table("", "label", "p", "step, and below it why, and who voted")
    for index, step in enumerate(row["steps"]):
        sign, style = _SIGNS[row["labels"][index]]
        p = row["p"][index]
        told = Text(shown(step))
        if by := row["decided_by"][index]:
            told.append(f"\n{shown(row['reason'][index] or f'decided by {by}')}", style=style)
        votes = [_vote(vote) for vote in row["votes"] if vote["step"] == index and vote["p"] is not None]
        silent = sum(vote["step"] == index for vote in row["votes"]) - len(votes)
        votes += [f"{silent} abstained"] if silent else []
        told.append(f"\n{shown(', '.join(votes))}", style="dim")
        add_row(table, str(index), Text(sign, style=style), "" if p is None else f"{p:.2f}", told)
    show_item(table)


def _vote(vote: Result) -> str:
    said = (
        f"{vote['correct']}/{vote['n']}"
        if vote["n"] > 1
        else {0.0: "no", 1.0: "yes"}.get(vote["p"], f"{vote['p']:.2f}")
    )
    return f"{vote['source']} {said}"
