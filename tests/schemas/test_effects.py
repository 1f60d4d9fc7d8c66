"""What a setting can change: the digest follows the votes, and nothing else."""

from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from schemas.config import RunConfig, parse_config
from schemas.config.effects import Effect, Setting, differing, every_setting, is_added, mark_of, vote_settings
from schemas.errors import UserError
from schemas.records import Record
from schemas.sections import classes_of, is_list, tag_of

SETTINGS = list(every_setting(RunConfig))
NEEDED: dict[str, Any] = {
    "name": "r",
    "model": "m",
    "factory": "package.module:function",
    "checkpoint": "checkpoints/r",
    "policy": {"kind": "simulated"},
}
"""Values of fields that have no default, by their names."""
BESIDE = {"ProblemsConfig": {"source": "jsonl"}}
"""What a section says so that all of its settings mean something, by its class."""


def section_of(model: type[BaseModel], /, **values: Any) -> dict[str, Any]:
    """A section of this class as a run file has it, with the least that it needs."""
    tag, kind = tag_of(model)
    needed = {name: NEEDED[name] for name, field in model.model_fields.items() if field.is_required()}
    return {**needed, **({tag: kind} if tag else {}), **BESIDE.get(model.__name__, {}), **values}


def with_setting(setting: Setting, **values: Any) -> dict[str, Any]:
    """A run file that reaches a setting's section, and what it says there."""

    def reached(model: type[BaseModel], place: tuple[str, ...]) -> dict[str, Any]:
        name, *rest = place
        if not rest:
            return section_of(model, **values)
        field = model.model_fields[name]
        inside = [one for one in classes_of(field.annotation) if rest[0] in one.model_fields]
        value = reached(setting.section if len(rest) == 1 else inside[0], tuple(rest))
        return section_of(model, **{name: [value] if is_list(field) else value})

    data = reached(RunConfig, setting.place)
    return {"train": {}, **data} if {"evaluate", "series"} & {*data} else data


def other_value(setting: Setting) -> Any:
    """A value that differs from the default, and that the field takes."""
    field = setting.section.model_fields[setting.name]
    adapter: TypeAdapter[Any] = TypeAdapter(Annotated[field.annotation, field])
    default = NEEDED.get(setting.name) if field.is_required() else field.default
    candidates: list[Any] = [
        True,
        False,
        7,
        3,
        2**12,
        0.5,
        0.25,
        0.75,
        "other",
        ["other"],
        [2, 4],
        {"a": "b"},
    ]
    literals = [
        value for part in _parts(field.annotation) if get_origin(part) is Literal for value in get_args(part)
    ]
    for value in [
        "package.module:other",
        "http://other/v1",
        "other:6379",
        "me/other",
        "top_p",
        ["top_p"],
        ["algebra"],
        *literals,
        *([one] for one in literals),
        *candidates,
    ]:
        if isinstance(default, bool) != isinstance(value, bool):
            continue
        try:
            found = adapter.validate_python(value)
        except ValidationError:
            continue
        if found != default and _fits(setting, value):
            return value
    raise AssertionError(f"no other value for {setting.place}: add one above")


def _parts(annotation: Any) -> list[Any]:
    return [annotation, *(inner for part in get_args(annotation) for inner in _parts(part))]


def _fits(setting: Setting, value: Any) -> bool:
    """Whether a run file may say so: some settings must agree with others."""
    try:
        RunConfig.model_validate(with_setting(setting, **{setting.name: value}))
    except ValidationError:
        return False
    return True


FREE = [one for one in SETTINGS if one.name != tag_of(one.section)[0]]
"""All but the kinds: with another kind the other settings change, too."""


_KNOWN = {
    Effect.SPEED: "base_url api_key_env timeout_s patience_s in_flight root",
    Effect.VOTES: "drop extra_body chat temperature top_p slip separator verifiers dtype "
    "engine stop stop_token_ids",
    Effect.CONTENT: "template prompts factory lora",
    Effect.LATER: "accept reject epochs learning_rate samples",
}
KNOWN = {name: effect for effect, names in _KNOWN.items() for name in names.split()}


def test_every_setting_has_an_effect() -> None:
    unmarked = [one.place for one in SETTINGS if one.effect is None]
    assert unmarked == []
    sections = [name for name, field in RunConfig.model_fields.items() if mark_of(field) is None]
    assert sections == []


@pytest.mark.parametrize("setting", FREE, ids=lambda s: ".".join([*s.place[:-1], s.section.__name__, s.name]))
def test_a_setting_changes_the_digest_if_it_can_change_a_vote(setting: Setting) -> None:
    before = RunConfig.model_validate(with_setting(setting))
    after = RunConfig.model_validate(with_setting(setting, **{setting.name: other_value(setting)}))
    assert (before.digest() != after.digest()) == (setting.effect is Effect.VOTES)
    said = list(differing(before.settings(), after.settings()))
    assert bool(said) == (setting.effect is Effect.VOTES)
    # Another name is another section.
    assert all(setting.name == "name" or setting.name in line for line in said)


def test_a_setting_added_later_leaves_the_digest_of_earlier_runs() -> None:
    """It counts from when it is set; where two runs differ in it, that is said."""
    plain = RunConfig.model_validate({"name": "r"})
    assert "reasoning" not in vote_settings(plain, added=False)["prompt"]
    assert "reasoning" in plain.settings()["prompt"]
    other = RunConfig.model_validate({"name": "r", "prompt": {"reasoning": "inside", "split": {}}})
    assert plain.digest() != other.digest()
    said = list(differing(plain.settings(), other.settings()))
    assert said == ["prompt.reasoning='after', not 'inside'", "no section [prompt.split], not with it"]
    added = [one for one in SETTINGS if is_added(one.section.model_fields[one.name])]
    assert {one.effect for one in added} == {Effect.VOTES}


def test_a_default_that_earlier_versions_did_not_follow_counts() -> None:
    """They drew all rollouts of the filter. So a run of theirs has the digest of one that does so now."""
    plain, never = (
        RunConfig.model_validate({"name": "r", "filter": {"rollouts": 8, **more}})
        for more in ({}, {"stop": "never"})
    )
    assert "stop" not in vote_settings(never, added=False)["filter"]
    assert vote_settings(plain, added=False)["filter"]["stop"] == "sure"
    assert plain.digest() != never.digest()


def test_known_marks() -> None:
    """The marks that must not change by accident, of the policy as of every prover and judge."""
    wrong = [one.place for one in SETTINGS if KNOWN.get(one.name, one.effect) is not one.effect]
    assert wrong == []
    assert KNOWN.keys() <= {one.name for one in SETTINGS}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"seed": 1}, {"seed": 2}, ["seed=1, not 2"]),
        ({}, {"filter": {}}, ["no section [filter], not with it"]),
        ({"judge": {}}, {}, ["a section [annotate.judge], not without it"]),
        ({"policy": {"kind": "simulated"}}, {}, ["policy.kind='simulated', not 'transformers'"]),
        ({"budget": {"run": 9}}, {"fusion": {"accept": 0.9}}, []),
        (
            {"prompt": {"stop": ["a"], "top_p": 1}},
            {"prompt": {"top_p": 0.5}},
            ["prompt.stop=['a'], not []", "prompt.top_p=1.0, not 0.5"],
        ),
    ],
)
def test_what_differs_is_said_in_words(
    before: dict[str, Any], after: dict[str, Any], said: list[str]
) -> None:
    then, now = (parse_config({"name": "r", **data}, "x").settings() for data in (before, after))
    assert list(differing(then, now)) == said


def vllm(**engine: Any) -> RunConfig:
    return parse_config({"name": "r", "policy": {"kind": "vllm", "model": "m", "engine": engine}}, "x")


def test_engine_arguments_belong_to_a_runs_identity_but_for_those_of_speed() -> None:
    fast = {"tensor_parallel_size": 2, "gpu_memory_utilization": 0.5, "block_size": 16}
    assert vllm(**fast).digest() == vllm().digest()
    # One that nobody has thought of is taken to change what the model writes.
    for name, value in {"quantization": "fp8", "seed": 3, "some_new_one": True}.items():
        assert vllm(**fast, **{name: value}).digest() != vllm().digest()
        assert list(differing(vllm().settings(), vllm(**{name: value}).settings())) == [
            f"policy.engine.{name}=None, not {value!r}"
        ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("max_num_seqs", "'max_num_seqs' is set by policy.in_flight"),
        ("enable_lora", "'enable_lora' is set by policy.lora"),
        ("hf_token", "HF_TOKEN"),
        ("runner", "'runner' cannot be set here: a policy writes text"),
    ],
)
def test_an_engine_argument_with_a_setting_of_its_own_is_refused(name: str, said: str) -> None:
    with pytest.raises(UserError, match=f"policy.*{said}") as refused:
        vllm(**{name: "1"})
    assert "\n" not in str(refused.value)


class _Part(Record):
    kind: Literal["a"] = "a"
    name: str = "a"
    n: int = 0
    where: Annotated[str, Effect.SPEED] = ""


class _Other(Record):
    kind: Literal["b"] = "b"
    name: str = "b"
    model: _Part | None = None


class _Listed(Record):
    parts: Annotated[tuple[Annotated[_Part | _Other, Field(discriminator="kind")], ...], Effect.VOTES] = ()
    later: Annotated[_Part, Effect.LATER] = _Part()


def test_marks_reach_into_lists_of_sections() -> None:
    def settings(*parts: _Part | _Other, **others: Any) -> dict[str, Any]:
        return vote_settings(_Listed(parts=parts, **others))

    plain = settings(_Part(), _Other(model=_Part()))
    assert plain == settings(_Part(where="x"), _Other(model=_Part(where="y")), later=_Part(n=3))
    changed = settings(_Part(name="a2"), _Other(model=_Part(n=4)))
    assert list(differing(plain, changed)) == [
        "a section [parts.a], not without it",
        "no section [parts.a2], not with it",
        "parts.b.model.n=0, not 4",
    ]
    assert {(".".join(one.place), one.effect) for one in every_setting(_Listed)} >= {
        ("parts.where", Effect.SPEED),
        ("parts.model.n", Effect.VOTES),
        ("later.n", Effect.LATER),
    }
