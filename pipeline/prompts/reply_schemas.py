"""The JSON that a judge is held to where its prompt says `replies: json`, one form for each way of reading.

The review comes first in each, so that the model thinks before it decides. Only what all engines know is used
(objects, arrays, strings, numbers, `enum`), so that OpenAI's strict mode takes these schemas, too.
"""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.prompts.templates import JudgePrompt

_TEXT: Mapping[str, Any] = {"type": "string"}


def reply_schema(prompt: JudgePrompt, n_steps: int) -> str:
    """The schema of a judge's reply about a solution of so many steps; empty where its prompt asks for
    text."""
    if prompt.replies != "json":
        return ""
    steps = list(range(prompt.counts_from, prompt.counts_from + n_steps))
    match prompt.reads:
        case "per_step":
            verdict = {"type": "string", "enum": ["correct", "incorrect"]}
            step = _object(
                {"review": _TEXT, "paragraph": {"type": "integer", "enum": steps}, "verdict": verdict}
            )
            asked = _object({"steps": {"type": "array", "items": step}})
        case "all_errors":
            numbers = {"type": "array", "items": {"type": "integer", "enum": steps}}
            asked = _object({"review": _TEXT, "errors": numbers})
        case "rubric":
            asked = _object({"review": _TEXT, "score": {"type": "number"}})
        case _:
            asked = _object({"review": _TEXT, "first_error": {"type": "integer", "enum": [-1, *steps]}})
    return json.dumps(asked)


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
