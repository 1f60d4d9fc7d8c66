"""The styles in which chat models answer a judge's prompt: each writes a planted verdict on `STEPS`."""

import json
import random
from collections.abc import Callable

STEPS = (
    "In April she sold 48 clips.",
    "In May she sold 48 / 2 = 24 clips.",
    "Together that is 48 + 24 = 72 clips.",
    "She sold them to 72 friends.",
    "So she sold 72 clips.\n#### 72",
)


def none_or(number: int, none: str, some: str) -> str:
    return none if number < 0 else some.replace("KK", str(number))


ALOUD = (
    "Let me check each paragraph in turn.\n\nParagraph 0 restates the problem: 48 clips, which is right. ",
    "The student's final answer is \\boxed{72}, which I compare with my own: $48 + 24 = \\boxed{3}$... ",
    "I'll put the number in \\boxed{}. First, paragraph 1 is not wrong: 48 / 2 = 24.\n",
    "## Review\n\n* **Paragraph 0**: correct.\n* **Paragraph 1**: no mistakes so far.\n",
    "If the first error were in paragraph 4, the answer would still be right. ",
    "Comprobemos cada p\u00e1rrafo: 48 / 2 = 24 es correcto.\n",
    "\u6211\u4eec\u9010\u6bb5\u68c0\u67e5\u3002\u7b2c\u4e00\u6bb5\u6ca1\u6709\u9519\u8bef\u3002\n",
    "",
)


def dull(n: int) -> str:
    return none_or(n, "I find no errors anywhere.", "Paragraph KK contains the first error.")


def any_of(rng: random.Random) -> int:
    return rng.randint(-1, len(STEPS) - 1)


Style = Callable[[int, random.Random], str]
FIRST_ERROR: dict[str, Style] = {
    "box": lambda n, rng: f"{rng.choice(ALOUD)}\n\n\\boxed{{{n}}}",
    "box of text": lambda n, rng: f"{rng.choice(ALOUD)}\n\n$\\boxed{{\\text{{{n}}}}}$",
    "unit": lambda n, _: none_or(n, r"\boxed{\text{no error}}", r"\boxed{\text{paragraph }KK}"),
    "tag": lambda n, _: none_or(n, r"\[\boxed{-1}\]", r"The earliest error: \boxed{<paragraph_KK>}."),
    "bold box": lambda n, rng: f"{rng.choice(ALOUD)}\n\n**Final answer:** $\\boxed{{{n}}}$",
    "box in a sentence": lambda n, rng: f"{rng.choice(ALOUD)}{dull(n)} So the answer is \\boxed{{{n}}}.",
    "box and more": lambda n, _: f"\\boxed{{{n}}}\n\nLet me know if you would like me to explain any step!",
    "thinking": lambda n, rng: f"<think>\\boxed{{{any_of(rng)}}}? No.</think>\n{dull(n)}\n\\boxed{{{n}}}",
    "twice": lambda n, rng: f"\\boxed{{{any_of(rng)}}}\n\nWait, that is not right.\n\n\\boxed{{{n}}}",
    "JSON": lambda n, _: f'```json\n{{"review": "48 / 2 = 24", "first_error": {n}}}\n```',
    "null": lambda n, _: f'{{"first_error_step": {"null" if n < 0 else n}, "reason": "a sum"}}',
    "sentence": lambda n, _: none_or(
        n, "I checked every step and found nothing wrong.", "The first error is in paragraph KK."
    ),
    "step": lambda n, _: none_or(n, "There is nothing wrong.", "The first mistake is made in step KK."),
    "bold sentence": lambda n, _: none_or(
        n, "**All paragraphs are correct.**", "The **earliest error** occurs in **Paragraph KK**: 4 + 4 = 9."
    ),
    "tagged sentence": lambda n, _: none_or(
        n, "There are no errors in it.", "Paragraph_KK contains the first error because 3 is not 4."
    ),
    "last line": lambda n, rng: f"{rng.choice(ALOUD)}\n\n**{n}**",
    "label": lambda n, _: none_or(n, "Verdict: none", "The sum is off.\n\n### Verdict: paragraph KK"),
    "minus sign": lambda n, _: f"Done.\n\\boxed{{{str(n).replace('-', chr(0x2212))}}}",
    "lost backslash": lambda n, _: f"Done.\nboxed{{{n}}}",
    "gloss": lambda n, _: none_or(n, r"\boxed{-1 \text{ (no error)}}", r"\boxed{KK: \text{wrong sum}}"),
}


def redone(number: int, rng: random.Random) -> str:
    """The solution again, another number from a step on: the reply of a judge that works by redoing."""
    steps = [*STEPS]
    if number >= 0:
        steps[number] = steps[number].replace("48", "49").replace("72", "73")
    match rng.randrange(5):
        case 0:
            return "\n".join(steps)
        case 1:
            return "\n".join(f"{i}. {step}" for i, step in enumerate(steps, 1))
        case 2:
            return "\n".join(f"**Step {i}:** {step}" for i, step in enumerate(steps, 1)).replace(
                "72", "**72**"
            )
        case 3:
            return "<think>\n#### 5\n</think>\n\n" + "\n".join(steps)
        case _:
            return "\n".join(steps) + "\n\nAll of this follows from the problem."


WHY = ("It restates the problem.", "48 / 2 = 24, as it says.", "This follows: $48 + 24 = \\boxed{72}$.", "")


def gone_through(form: str, *, all_of_them: bool = False) -> Style:
    """A reply that says of each step, up to the first wrong one, what `form` says of it: NN is its number,
    VV its verdict, WW an analysis."""

    def style(first: int, rng: random.Random) -> str:
        last = first if first >= 0 and not all_of_them else len(STEPS) - 1
        parts = []
        for step in range(last + 1):
            verdict = "incorrect" if step == first else "correct"
            said = form.replace("NN", str(step)).replace("WW", rng.choice(WHY))
            parts.append(said.replace("Vv", verdict.capitalize()).replace("VV", verdict))
        return "\n".join(parts)

    return style


def listed(first: int, form: Callable[[int, str], object]) -> str:
    last = first if first >= 0 else len(STEPS) - 1
    steps = [form(step, "incorrect" if step == first else "correct") for step in range(last + 1)]
    return json.dumps({"steps": steps})


PER_STEP: dict[str, Style] = {
    "as asked": gone_through("WW\n\nParagraph NN: VV\n"),
    "bold": gone_through("WW\n\n**Paragraph NN: Vv**\n"),
    "bold number": gone_through("WW\n\n**Paragraph NN:** VV.\n"),
    "heading": gone_through("### Paragraph NN\n\nWW\n\n**Verdict:** VV\n"),
    "heading and the line": gone_through("### Paragraph NN\n\nWW\n\nParagraph NN: VV\n"),
    "box": gone_through("**Paragraph NN**\nWW The step is \\boxed{VV}.\n"),
    "box of text": gone_through("Paragraph NN: WW\n\n$\\boxed{\\text{Vv}}$\n"),
    "verdict first": gone_through("Paragraph NN: Vv. WW"),
    "list": gone_through("- Paragraph NN is VV. WW"),
    "numbers": gone_through("NN. **Vv** - WW"),
    "step": gone_through("Step NN: VV"),
    "tag": gone_through("<paragraph_NN>: VV"),
    "table": gone_through("| NN | VV |"),
    "signs": lambda n, rng: (
        gone_through("Paragraph NN: VV")(n, rng).replace("incorrect", "\u274c").replace("correct", "\u2705")
    ),
    "labelled": gone_through("WW\nVerdict for paragraph NN: VV"),
    "alone": gone_through("## Paragraph NN\nWW\nVv."),
    "this is": gone_through("Paragraph NN restates what is known. WW So this is VV."),
    "it is": gone_through("**Paragraph NN:** WW It is VV.\n"),
    "this paragraph": gone_through("Paragraph NN says that she sold some. WW This paragraph is VV."),
    "thinking": lambda n, rng: (
        f"<think>\nParagraph 0: incorrect\n</think>\n{gone_through('Paragraph NN: VV')(n, rng)}"
    ),
    "goes on": gone_through("Paragraph NN: VV", all_of_them=True),
    "twice": lambda n, rng: (
        f"{gone_through('Paragraph NN: VV')(any_of(rng), rng)}\n\nLet me go through it again.\n\n"
        f"{gone_through('Paragraph NN: VV')(n, rng)}"
    ),
    "and a summary": lambda n, rng: f"{gone_through('Paragraph NN: VV')(n, rng)}\n\n{dull(n)}",
    "JSON": lambda n, _: listed(n, lambda i, said: {"paragraph": i, "review": "", "verdict": said}),
    "JSON words": lambda n, _: f"```json\n{listed(n, lambda _, said: said)}\n```",
    "JSON numbers": lambda n, _: json.dumps({"judge_result": [1] * (n if n >= 0 else 5) + [0] * (n >= 0)}),
    "Spanish, boxed": gone_through("P\u00e1rrafo NN: \\boxed{VV}"),
}


def many(n: int, rng: random.Random) -> list[int]:
    """Wrong steps of which the first is `n`."""
    return [] if n < 0 else [n, *(step for step in range(n + 1, len(STEPS)) if rng.random() < 0.4)]


def naming(form: str, none: str, between: str = ", ") -> Style:
    def style(n: int, rng: random.Random) -> str:
        wrong = many(n, rng)
        return form.replace("KK", between.join(map(str, wrong))) if wrong else none

    return style


ALL_ERRORS: dict[str, Style] = {
    "as asked": naming("Some calculations are wrong.\n\n\\boxed{KK}", "I checked it.\n\n\\boxed{none}"),
    "-1": naming("\\boxed{KK}", "\\boxed{-1}"),
    "set": naming("$\\boxed{\\{KK\\}}$", "$\\boxed{\\emptyset}$"),
    "list": naming("**Final answer:** \\boxed{[KK]}", "**Final answer:** \\boxed{[]}"),
    "and": naming("\\boxed{KK}", "\\boxed{\\text{none}}", " and "),
    "text": naming("\\boxed{\\text{Paragraphs }KK}", "\\boxed{\\text{no errors}}"),
    "boxes": naming("\\boxed{KK}", "\\boxed{none}", "}, \\boxed{"),
    "units": naming("\\boxed{paragraph KK}", "\\boxed{none}", ", paragraph "),
    "line": naming("The sums are off.\n\nWrong paragraphs: KK", "All is well.\n\nWrong paragraphs: none"),
    "bold line": naming("**Errors:** KK", "**Errors:** none"),
    "JSON": naming('{"review": "off", "errors": [KK]}', '{"review": "fine", "errors": []}'),
    "fence": naming('```json\n{"wrong_steps": [KK]}\n```', '```json\n{"wrong_steps": []}\n```'),
    "twice": naming("\\boxed{0, 4}\n\nWait, no.\n\n\\boxed{KK}", "\\boxed{0}\n\nWait, no.\n\n\\boxed{none}"),
    "thinking": naming("<think>\\boxed{0}</think>\n\\boxed{KK}", "<think>\\boxed{0}</think>\n\\boxed{none}"),
    "prose": naming("Some steps fail. Paragraphs KK contain errors.", "There are no errors.", " and "),
    "prose at the end": naming("I checked it. I found mistakes in paragraphs KK.", "No mistakes at all."),
    "one by one": naming("Paragraph KK is wrong.", "All steps are correct.", " is wrong. Paragraph "),
    "sentence": naming("Errors in: KK", "I went through it all and found no errors."),
    "French": naming("Les calculs sont faux.\n\\boxed{KK}", "Tout est juste.\n\\boxed{none}"),
}
SCORES: dict[str, Callable[[float], str]] = {
    "as asked": lambda x: f"1. Derivation: 1\n2. Accuracy: 0.25, a sum is off.\n\nTotal score: {x}",
    "bold": lambda x: f"Derivation: 1\n\n**Total score: {x}**",
    "bold label": lambda x: f"Derivation: 1/1\n\n**Total score:** {x}.",
    "of one": lambda x: f"Total Score: {x}/1",
    "of ten": lambda x: f"Total score: {10 * x:g} / 10",
    "out of": lambda x: f"Overall score: {100 * x:g} out of 100",
    "percent": lambda x: f"Final score = {100 * x:g}%",
    "box": lambda x: f"Total score: $\\boxed{{{x}}}$",
    "JSON": lambda x: json.dumps({"review": "off", "score": x}),
    "fence": lambda x: f"```json\n{json.dumps({'derivation': 1, 'total_score': x}, indent=1)}\n```",
    "the only one": lambda x: f"I would give it a score of {x}.",
    "thinking": lambda x: f"<think>Total score: 0.1</think>Total score: {x}",
    "twice": lambda x: f"Total score: 0.1\n\nOn reflection that is harsh.\n\nTotal score: {x}",
    "which": lambda x: f"The lowest is accuracy.\n\nTotal score (the lowest of the six): **{x}**",
    "sentence": lambda x: f"Derivation 1, accuracy less. The total score is {x}.",
    "heading": lambda x: f"### Total score\n\n{x}",
}
STYLES = {
    "first_error": FIRST_ERROR,
    "per_step": PER_STEP,
    "all_errors": ALL_ERRORS,
    "redo": {"redo": redone},
}
