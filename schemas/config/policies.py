"""The models that are asked, and how."""

from typing import Any, Literal

from pydantic import Field, model_validator

from schemas.addresses import Addresses, VariableName, check_parameters
from schemas.records import Record


class PolicyConfig(Record):
    """A language model and the backend it runs on."""

    kind: Literal["transformers", "vllm", "server", "simulated"] = "transformers"
    model: str = "embedded"
    """A folder, a Hub name, the name a server serves, or `embedded` / `gemma-3-270m` for the models we
    prepare."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    max_model_len: int | None = Field(None, ge=16)
    in_flight: int = Field(256, ge=1)
    """Completions an engine writes at once: the batch of each engine or server. A quarter more are asked for,
    and fewer where the engine's cache is smaller than their tokens."""
    base_url: Addresses = "http://127.0.0.1:8000/v1"
    """For `server`: one, or several that serve the same model. A run may go on with others."""
    api_key_env: VariableName = "OPENAI_API_KEY"
    """Name of the environment variable that holds the server's key; the key itself is never stored."""
    chat: bool = False
    timeout_s: float = Field(120.0, gt=0)
    patience_s: float = Field(600.0, ge=0)
    """For `server`: while it says that it is busy the run waits, until nothing was answered for so long."""
    drop: tuple[str, ...] = ()
    """For `server`: parameters that it refuses and that are not sent, of `n`, `top_p`, `temperature`, `seed`,
    `stop`. Without `seed` a run cannot be repeated; without the others the server's own value counts."""
    extra_body: dict[str, Any] = {}
    """For `server`: further parameters of every request, e.g. `{top_k = 50}`."""
    slip: float = Field(0.15, ge=0, le=1)
    """For `simulated`: chance that a good step turns bad."""
    recover: float = Field(0.0, ge=0, le=1)
    """For `simulated`: chance that a bad step is repaired."""
    n_steps: int = Field(8, ge=1)
    """For `simulated`: steps per solution."""

    @model_validator(mode="after")
    def _asks_for_what_it_can(self) -> "PolicyConfig":
        check_parameters(self.drop, self.extra_body)
        return self


class PromptConfig(Record):
    """How the policy is asked to solve."""

    template: str = "embedded_solve"
    """A name under `pipeline/prompts`, or a path to a text file with `{problem}` in it."""
    separator: str = Field("\n", min_length=1)
    """What stands between two steps."""
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(256, ge=1, lt=2**31)
    stop: tuple[str, ...] = ()
