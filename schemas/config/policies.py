"""Sections of the run file for policies and prompts: one class for each kind, with only its own settings."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from schemas.addresses import Addresses, VariableName, check_parameters
from schemas.config.effects import ADDED, Effect, SpeedKeys
from schemas.config.engines import FAST, check_engine_names
from schemas.factories import FACTORY
from schemas.reasoning import Continued
from schemas.sections import Section, default_tag


class _InProcess(Section):
    """What the engines inside this program have in common."""

    kind: Literal["transformers", "vllm"] = "transformers"
    model: Annotated[str, Effect.CONTENT] = "embedded"
    """A folder with a model, a name OWNER/NAME on the Hugging Face Hub, or one of the models that we prepare:
    `embedded`, `gemma-3-270m` and `smollm2-135m-instruct`."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """The number type of the weights. `auto` is float32 on a CPU and the checkpoint's own type on a GPU."""
    max_model_len: int | None = Field(None, ge=16)
    """Most tokens of a prompt and its completion together. If it is left out, the model's own limit holds."""
    in_flight: Annotated[int, Effect.SPEED] = Field(256, ge=1)
    """Completions that the engine writes at once: its batch. A quarter more are asked for, and fewer where
    the engine's cache is smaller than their tokens."""
    revision: Annotated[str | None, ADDED] = Field(None, min_length=1)
    """A branch, tag or commit of a model on the Hub. If it is left out, its main branch counts."""
    chat: bool = False
    """Whether the prompt is sent as a user's message through the model's chat template. With `false` the
    prompt is sent as plain text, which suits base models and prompts with worked examples."""
    chat_template_kwargs: Annotated[dict[str, Any], ADDED] = {}
    """With `chat = true`, what else the chat template is given: with `{enable_thinking = false}` Qwen3
    answers without thinking first."""


class TransformersConfig(_InProcess):
    """A model on the library transformers, inside this program. It needs `pip install 'stepmint[train]'` and
    runs on a CPU or a GPU.

        [policy]
        kind = "transformers"
        model = "embedded"
        in_flight = 64
    """

    kind: Literal["transformers"] = "transformers"


class VllmConfig(_InProcess):
    """A model on vLLM, inside this program. `make setup-vllm` installs its build for CPUs.

    [policy]
    kind = "vllm"
    model = "Qwen/Qwen2.5-1.5B-Instruct"
    dtype = "bfloat16"
    chat = true
    engine = {tensor_parallel_size = 2, gpu_memory_utilization = 0.8}
    """

    kind: Literal["vllm"] = "vllm"
    lora: Annotated[str, Effect.CONTENT] = ""
    """A folder with a LoRA adapter of the model, as the library peft writes it."""
    engine: Annotated[dict[str, Any], SpeedKeys(FAST), ADDED] = {}
    """Further arguments of vLLM's engine by the names of its `AsyncEngineArgs`, such as `quantization` or
    `tensor_parallel_size`. They are checked against the installed vLLM. Those that say only where and how
    fast the engine runs may change when the run goes on (docs/engines.md); the others belong to its
    identity."""

    @model_validator(mode="after")
    def _has_one_place_for_each(self) -> "VllmConfig":
        check_engine_names(self.engine)
        return self


class ServerConfig(Section):
    """A model behind one or several servers that speak the OpenAI protocol, such as `vllm serve`, llama.cpp
    or a commercial service. `stepmint doctor --policy FILE` asks the server a few short questions and says
    whether a run could use it.

        [policy]
        kind = "server"
        base_url = "http://127.0.0.1:8000/v1"
        model = "Qwen/Qwen3-8B"
        chat = true
        api_key_env = "OPENAI_API_KEY"
    """

    kind: Literal["server"] = "server"
    model: Annotated[str, Effect.CONTENT]
    """The name under which the server serves the model."""
    in_flight: Annotated[int, Effect.SPEED] = Field(256, ge=1)
    """Completions that each server writes at once. A quarter more are asked for."""
    base_url: Annotated[Addresses, Effect.SPEED] = "http://127.0.0.1:8000/v1"
    """The address of the server, or a list of addresses that serve the same model. It ends where the
    protocol's own paths begin, often with `/v1`. A run may go on with other addresses."""
    api_key_env: Annotated[VariableName, Effect.SPEED] = "OPENAI_API_KEY"
    """The name of the environment variable that holds the server's key. The key itself is never stored."""
    chat: bool = False
    """Which of the server's two endpoints is asked. With `false` the prompt goes to `/completions` as plain
    text. With `true` it goes to `/chat/completions` as a user's message; many services offer only this one.
    Rollouts from steps need a server that continues a begun answer there, as vLLM does."""
    timeout_s: Annotated[float, Effect.SPEED] = Field(120.0, gt=0)
    """Seconds after which a call without a reply has failed. It is tried again, with a quarter of the calls
    at once: a server that has too many to end them in this time may end none."""
    patience_s: Annotated[float, Effect.SPEED] = Field(600.0, ge=0)
    """Seconds that the run waits for a server that says it is busy and answers nothing, before it stops."""
    drop: tuple[str, ...] = ()
    """Parameters that the server refuses and that are therefore not sent: any of `n`, `top_p`, `temperature`,
    `seed`, `stop`. Without `seed` a run cannot be repeated. Without `temperature` or `top_p` the server's own
    value counts."""
    extra_body: dict[str, Any] = {}
    """Further parameters of every request, e.g. `{top_k = 50}`."""

    @model_validator(mode="after")
    def _asks_for_what_it_can(self) -> "ServerConfig":
        check_parameters(self.drop, self.extra_body)
        return self


class SimulatedConfig(Section):
    """A policy that follows a random rule instead of a model. Its right and wrong steps are known, so that
    methods can be tried out and tested in seconds. It does not read the problems: its final answer is the
    word `right` or the word `wrong`. So it is graded only on problems whose gold answer is `right`; a number
    cannot be compared with a word.

        [policy]
        kind = "simulated"
        slip = 0.2
        n_steps = 5
    """

    model: ClassVar[str] = "simulated"
    chat: ClassVar[bool] = False
    kind: Literal["simulated"] = "simulated"
    slip: float = Field(0.15, ge=0, le=1)
    """The chance that a good step is followed by a wrong one."""
    recover: float = Field(0.0, ge=0, le=1)
    """The chance that a wrong step is repaired by the next one."""
    n_steps: int = Field(8, ge=1, le=1000)
    """Steps of a solution."""


class PythonPolicyConfig(Section):
    """A policy of your own. A function of yours makes an object that follows the protocol `Policy` in
    `pipeline/policies/base.py`.

        [policy]
        kind = "python"
        factory = "my_package.my_module:make_policy"
        options = {depth = 3}
    """

    chat: ClassVar[bool] = False
    kind: Literal["python"] = "python"
    factory: Annotated[str, Effect.CONTENT] = Field(pattern=FACTORY)
    """The function that makes the policy, as `package.module:function`. The module is looked for among the
    installed packages and then in the working directory. The content of its file belongs to the run's
    identity."""
    options: dict[str, Any] = {}
    """What the function is called with, by the names of its parameters."""

    @property
    def model(self) -> str:
        """What messages call the policy."""
        return self.factory


PolicyConfig = Annotated[
    TransformersConfig | VllmConfig | ServerConfig | SimulatedConfig | PythonPolicyConfig,
    Field(discriminator="kind"),
    default_tag("kind", "transformers"),
]
"""A section that describes a policy. Without a `kind` it is one of `transformers`."""


class SplitConfig(Section):
    """Rules that cut the text of chat models into steps, instead of a separator: paragraphs, headings and
    long list items, never inside a formula, a code fence or a table. `docs/prompts.md` has all of them.

        [prompt.split]
        most = 1500
    """

    least: int = Field(8, ge=0, le=1_000)
    """Fewest characters of a step. A shorter piece is joined to the next where it ends in a word or a colon
    (`So:`), and to the one before it otherwise."""
    most: int = Field(2_000, ge=100, lt=2**31)
    """Most characters of a step. A longer one is cut where a line or a sentence ends, if one does outside
    formulas."""

    @model_validator(mode="after")
    def _leaves_room(self) -> "SplitConfig":
        if self.most <= self.least:
            raise ValueError(f"most={self.most} must be above least={self.least}")
        return self


class PromptConfig(Section):
    """How the policy is asked to solve a problem, and how its solutions are cut into steps."""

    template: Annotated[str, Effect.CONTENT] = "embedded_solve"
    """The prompt: a name under `pipeline/prompts`, or the path of a text file with `{problem}` in it."""
    separator: str = Field("\n", min_length=1)
    """The text between two steps of a solution."""
    split: Annotated[SplitConfig | None, ADDED] = None
    """With a section `[prompt.split]`, which may be empty, solutions are cut by rules for the text of chat
    models, and not by a separator."""
    reasoning: Annotated[Continued, ADDED] = "after"
    """Where rollouts of a reasoning model continue a solution. `after`: its reasoning block is part of every
    prefix, and rollouts go on with the answer behind it. `inside`: the steps so far stand in an opened block,
    and rollouts go on thinking from there. Solutions without such a block are continued as they are."""
    temperature: float = Field(1.0, ge=0)
    """Sampling temperature. At 0 all completions of a prompt are the same, so that rollouts say little."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Nucleus sampling: only the likeliest tokens whose probabilities add up to this are drawn."""
    max_tokens: int = Field(256, ge=1, lt=2**31)
    """Most tokens of a completion. A completion that is cut off abstains: it is no wrong answer."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Texts that end a completion. They are not part of it."""
    stop_token_ids: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], ADDED] = ()
    """Tokens that end a completion, by their numbers in the model's vocabulary; the model's own end token
    always does. They are not part of it. Of servers only some know them, such as vLLM's."""

    @property
    def cuts(self) -> "str | SplitConfig":
        """What cuts a solution into steps: the rules, or the separator."""
        return self.split or self.separator

    @model_validator(mode="after")
    def _cuts_one_way(self) -> "PromptConfig":
        if self.split is not None and self.separator != "\n":
            raise ValueError("separator does nothing beside [prompt.split]: leave one of them out")
        return self
