"""Which request parameters one server accepts, learnt from what it refuses.

A parameter is renamed or left out only where the completions stay the same ones. Whatever would change them
is for the user to decide, in the run file (`drop`, `extra_body`).
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.policies.base import Prompt, Sampling

log = logging.getLogger(__name__)
# Seeds below this fit every server: llama.cpp and others read them as 32-bit integers. Runs use 48 bits.
_SMALL = 2**31
# A parameter's name as a whole word: `n` in "'n' must be 1", but not in "invalid" and not in "top-n".
_NAMED = r"(?<![\w-]){name}(?![\w-])"
# "System role not supported" (Gemma 2), "Only user and assistant roles are supported!" (Mistral),
# "Conversation roles must alternate" (older Mistral, which counts the system's message as a turn).
_NO_SYSTEM = re.compile(r"\bsystem\b.{0,40}(role|message|prompt|support)|\broles?\b", re.IGNORECASE)
_TOO_LONG = re.compile(
    "|".join(
        (
            r"context[ _](length|size|window)",
            r"exceed_context_size",
            r"maximum (model|input|sequence|context) len",
            r"(prompt|inputs?)`? (is|are) too long",
            r"prompt.{0,40} longer than",
            r"input.{0,60} (longer than|exceeds?) ",
            r"(input|prompt) (length|tokens?).{0,60}(exceed|longer|too (long|large|many))",
            r"max_new_tokens`? must be <=",
            r"inputs`? must have less than",
            r"too many (input|prompt) tokens",
            r"prompt contains \d+ tokens",
            r"cannot be greater than max_model_len",
        )
    ),
    re.IGNORECASE,
)
"""How vLLM, OpenAI, llama.cpp, TGI, SGLang, Anthropic and Mistral say that a prompt does not fit, as in "This
model's maximum context length is 4096 tokens". Status and error codes differ too much to go by."""


ONE_AT_A_TIME = "it gives one completion where several are asked for; each is asked for alone"
"""What is said of a server that ignores `n`."""


def is_too_long(words: str) -> bool:
    """Whether a refusal says that the prompt leaves no room to answer."""
    return _TOO_LONG.search(words) is not None


def names(words: str, parameter: str, body: Mapping[str, Any]) -> bool:
    """Whether a refusal names a parameter of the request."""
    return parameter in body and re.search(_NAMED.format(name=parameter), words) is not None


def _has_system(body: Mapping[str, Any]) -> bool:
    return any(message["role"] == "system" for message in body.get("messages", ()))


class Dialect:
    """Writes completion requests with the parameters that one server accepts.

    `many` says that one request may ask for several completions; else each gets a request of its own, with
    the seed it would have had. `drop` and `extra` come from the configuration.
    """

    def __init__(
        self, *, chat: bool, drop: Sequence[str] = (), extra: Mapping[str, Any] | None = None
    ) -> None:
        self.chat, self.extra = chat, dict(extra or {})
        self.many, self.fold, self.token_ids = "n" not in drop, False, False
        self.system = True
        """Whether a system's message has a role of its own; else it begins the user's message."""
        self.limit = "max_tokens"
        self._renamed = False
        self.dropped = set(drop)
        self.notes: list[str] = []
        """What is done differently because of this server, in sentences for the user."""

    def request(self, model: str, prompt: Prompt, n: int, sampling: Sampling) -> dict[str, Any]:
        """The body of a request."""
        asked: dict[str, Any] = {
            "model": model,
            "n": n,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self.limit: sampling.max_tokens,
            "seed": sampling.seed % _SMALL if self.fold else sampling.seed,
        }
        if sampling.stop:
            asked["stop"] = list(sampling.stop)
        if sampling.json_schema:
            schema = {"name": "reply", "strict": True, "schema": json.loads(sampling.json_schema)}
            asked["response_format"] = {"type": "json_schema", "json_schema": schema}
        if sampling.stop_token_ids:
            asked["stop_token_ids"] = list(sampling.stop_token_ids)
        if self.token_ids:
            asked["return_token_ids"] = True
        asked = {name: value for name, value in asked.items() if name not in self.dropped} | self.extra
        if not self.chat:
            return {**asked, "prompt": prompt.plain}
        has_role = self.system and prompt.system.strip()
        said = (
            [("system", prompt.system), ("user", prompt.text)] if has_role else [("user", prompt.instruction)]
        )
        asked["messages"] = [{"role": role, "content": content} for role, content in said]
        if prompt.prefix:
            asked["messages"].append({"role": "assistant", "content": prompt.prefix})
            # Without these a chat template ends the assistant's turn, and the model begins a new answer.
            asked |= {"continue_final_message": True, "add_generation_prompt": False}
        return asked

    def without_system(self) -> None:
        """From now on a system's message begins the user's."""
        self.system = False
        self.note("its chat template takes no system message; it stands at the beginning of the user's")

    def learn(self, words: str, body: Mapping[str, Any]) -> bool:
        """Change the requests from now on, where a refusal names a parameter that the server does not accept.

        False when nothing can be changed without changing the completions.
        """
        change = self._change(words, body)
        if change:
            self.note(change)
        elif self.system and _has_system(body) and _NO_SYSTEM.search(words):
            self.without_system()
            return True
        return bool(change)

    def note(self, said: str) -> None:
        """Keep a remark, and log it the first time."""
        if said not in self.notes:
            self.notes.append(said)
            log.warning("%s", said)

    def _change(self, words: str, body: Mapping[str, Any]) -> str:
        def named(name: str) -> bool:
            return names(words, name, body)

        # `_renamed` allows one rename: a server that refuses both names would be asked in turn forever.
        if "max_completion_tokens" in words and self.limit == "max_tokens" and not self._renamed:
            self.limit, self._renamed = "max_completion_tokens", True
            return "the token limit is called `max_completion_tokens` here"
        if named("max_completion_tokens") and not self._renamed:
            self.limit, self._renamed = "max_tokens", True
            return "the token limit is called `max_tokens` here"
        if named("return_token_ids"):
            self.token_ids = False
            self.dropped.add("return_token_ids")
            return "it does not list the tokens of a completion"
        if named("seed") and body["seed"] >= _SMALL:
            self.fold = True
            return "seeds are sent modulo 2**31"
        if named("stop"):
            self.dropped.add("stop")
            return "`stop` is refused; texts are cut at it when they arrive"
        for name in ("top_p", "temperature"):
            if named(name) and body[name] == 1:  # 1 is every server's default; another value must be sent
                self.dropped.add(name)
                return f"`{name}` is refused and left out; it is 1"
        if body.get("n", 1) > 1 and (named("n") or named("best_of")):
            self.many = False
            return "several completions at once are refused; each is asked for alone, with its own seed"
        return ""
