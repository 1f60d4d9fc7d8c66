"""What a wrong run file is told: a sentence for each setting, in the words of a run file."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError

import stepmint
from schemas.complaints import complaints
from schemas.config import RunConfig, load_config, parse_config
from schemas.config.effects import every_setting
from schemas.derive import DeriveSettings, parse_settings
from schemas.errors import UserError
from schemas.overrides import set_key
from schemas.records import Record
from schemas.sections import Section, classes_of

SERVER = '[policy]\nkind = "server"\nmodel = "m"\n'
CASES = {
    # sections and settings that do not exist
    "[promt]\ntemplate = 'x'": "promt: no such section; did you mean [prompt]?",
    "[[promt]]\ntemplate = 'x'": "promt: no such section; did you mean [prompt]?",
    "[zzz]\na = 1": "zzz: no such section; there are [problems], [policy], [prompt]",
    "zzz = 1": "zzz: no such setting; there are name, seed",
    "temperature = 1": "temperature: no such setting here; there is one in [prompt], [annotate]",
    "[prompt]\ntemprature = 1": "prompt.temprature: no such setting; did you mean `temperature`?",
    "[propose]\nnn = 3": "propose.nn: no such setting; did you mean `n`?",
    "[judge.policy]\nchatt = true": "judge.policy.chatt: no such setting; did you mean `chat`?",
    '"" = 1': ": no such setting; there are name",
    # settings of another kind
    "[policy]\nslip = 0.3": '`slip` belongs to kind = "simulated"; this policy is "transformers"',
    "[policy]\nkind = 'vllm'\nbase_url = 'x'": '`base_url` belongs to kind = "server"; this policy is "vllm"',
    SERVER
    + "dtype = 'auto'": '`dtype` belongs to kind = "transformers" or kind = "vllm"; this policy is "server"',
    "[prover.policy]\nkind = 'simulated'\nchat = true": 'prover.policy.chat: `chat` belongs to kind = "trans',
    "[propose]\nsearches = 3": '`searches` belongs to kind = "omegaprm"; this propose is "sample"',
    "[policy]\nkind = 'vlm'": 'policy.kind: expected "transformers", "vllm", "server", "simulated" or '
    '"python", not "vlm"; did you mean "vllm"?',
    "[propose]\nkind = 3": 'propose.kind: expected "sample", "omegaprm" or "given", not 3',
    # settings that are missing
    "[policy]\nkind = 'server'": "policy.model: is missing: write model = ...",
    "[policy]\nkind = 'python'": "policy.factory: is missing: write factory = ...",
    "[prover]": "annotate.prover.policy: is missing: write [annotate.policy]",
    "[evaluate]": "mine.toml: [evaluate] measures the trained PRM, so [train] is needed too",
    # one thing where another is expected
    "policy = 3": "policy: expected a section [policy] with settings in it, not 3",
    "[judge]\npolicy = 'x'": 'policy: expected a section [annotate.policy] with settings in it, not "x"',
    "[[policy]]\nkind = 'vllm'": "policy: expected one section: write [policy], not [[policy]]",
    "[[prompt]]\ntop_p = 1": "prompt: expected one section: write [prompt], not [[prompt]]",
    "[judge]\nprompts = 'judge2.txt'": 'judge.prompts: expected a list: ["judge2.txt"]',
    "[judge]\nprompts = 3": "judge.prompts: expected a list: [3]",
    "[judge]\nprompts = [1]": "judge.prompts #1: expected a text in quotes, not 1",
    "[bisection]\nprior = [1]": "bisection.prior #2: is missing",
    "[bisection]\nprior = [1, 2, 3]": "bisection.prior: expected at most 2 in the list",
    "[prompt]\nmax_tokens = 'many'": 'prompt.max_tokens: expected a whole number, not "many"',
    "[prompt]\nmax_tokens = true": "prompt.max_tokens: expected a whole number, not true",
    "[prompt]\nmax_tokens = '256'": 'prompt.max_tokens: expected a whole number, not "256"',
    "[prompt]\ntemperature = '0.1'": 'prompt.temperature: expected a number, not "0.1"',
    "[prompt]\ntemperature = false": "prompt.temperature: expected a number, not false",
    "[fusion]\nconsensus = 1": "fusion.consensus: expected true or false, not 1",
    "[policy]\nchat = 'yes'": 'policy.chat: expected true or false, not "yes"',
    "[policy]\nmax_model_len = '512'": 'policy.max_model_len: expected a whole number, not "512"',
    "[bisection]\nprior = [true, 2]": "bisection.prior #1: expected a whole number, not true",
    "[prompt]\nmax_tokens = 2.5": "prompt.max_tokens: expected a whole number, not 2.5",
    "[prompt]\ntemperature = 'hot'": 'prompt.temperature: expected a number, not "hot"',
    "[prompt.temperature]\nx = 1": "prompt.temperature: expected a number, not a table",
    "[fusion]\nconsensus = 'maybe'": 'fusion.consensus: expected true or false, not "maybe"',
    "[train]\ntargets = 'firm'": 'train.targets: expected "hard" or "soft", not "firm"',
    "[verify]\nverifiers = ['algebr']": "annotate.verify.verifiers: 'algebr': expected arithmetic, algebra, "
    "constraints, logic, code, tables, rules, or package.module:function; did you mean 'algebra'?",
    SERVER + "base_url = 5": "policy.base_url: expected a text in quotes, not 5",
    SERVER + "base_url = []": "mine.toml: policy.base_url: expected at least 1 in the list",
    SERVER + "base_url = [5]": "mine.toml: policy.base_url #1: expected a text in quotes, not 5",
    SERVER + "extra_body = 3": 'policy.extra_body: expected a table such as {name = "value"}, not 3',
    # values that cannot be
    "[fusion]\naccept = 2": "fusion.accept: must be at most 1, not 2",
    "[prompt]\nmax_tokens = 0": "prompt.max_tokens: must be at least 1, not 0",
    "[prompt]\ntop_p = 0": "prompt.top_p: must be above 0, not 0",
    "[train]\nholdout = 1.0": "train.holdout: must be below 1, not 1.0",
    "[prompt]\ntemperature = nan": "prompt.temperature: expected a finite number",
    "[prompt]\ntemperature = inf": "prompt.temperature: expected a finite number",
    "[prompt]\nstop = ['']": "prompt.stop #1: must not be empty",
    f"name = '{'a' * 300}'": "name: expected at most 200 characters",
    'root = "a\\u0000b"': "is not written as expected",
    "shards = 1000000000": "shards: must be at most 10000, not 1000000000",
    "[policy]\nkind = 'simulated'\nn_steps = 1000000000": "policy.n_steps: must be at most 1000, not",
    # settings by which nothing would happen, or one thing twice
    "[judge]\nprompts = []": "judge.prompts: expected at least 1 in the list",
    "[verify]\nverifiers = []": "verify.verifiers: expected at least 1 in the list",
    "[verify]\nverifiers = ['logic', 'logic']": "verify.verifiers: 'logic' is listed twice",
    "[filter]\nleast = 0.9\nmost = 0.1": "filter: least=0.9 must be below most=0.1: no problem would be kept",
    "[montecarlo]\nrollouts = 3": 'no such section; did you mean [[annotate]] kind = "monte_carlo"?',
    # problems
    "[problems]\nsteps = [8, 3]": "problems: steps=[8, 3] must be [fewest, most], from 1 to 12",
    "[problems]\nsteps = [0, 3]": "problems: steps=[0, 3] must be [fewest, most], from 1 to 12",
    "[problems]\nsteps = [3, 13]": "problems: steps=[3, 13] must be [fewest, most], from 1 to 12",
    "[problems]\npath = 'x'\nsubset = 'y'": "does nothing for problems in files, which `path` means",
    "[problems]\nfactory = 'm:f'\npath = 'x'": "does nothing for problems of a function",
    "[prompt]\nseparator = ''": "prompt.separator: must not be empty",
    "name = 'a b'": 'name: "a b": letters, digits and . _ - only, a letter or digit first',
    "name = 7": "name: expected a text in quotes, not 7",
    "[policy]\nkind = 'python'\nfactory = 'x'": 'policy.factory: expected package.module:function, not "x"',
    "[bisection]\nbatch = 100": "bisection: batch=100 exceeds budget=48: nothing would be drawn",
    "[budget]\nper_problem = 3": "mine.toml: budget.per_problem=3 is less than prompt.max_tokens",
}
_OF_PYDANTIC = ("Input should", "Extra inputs", "Value error", "Field required", "discriminator", "tuple")


def told(text: str) -> str:
    data = tomllib.loads(text)
    with pytest.raises(UserError) as error:
        parse_config({"name": "r", **data}, "mine.toml")
    return str(error.value)


@pytest.mark.parametrize("text", CASES, ids=lambda text: text.replace("\n", " "))
def test_a_wrong_setting_is_told_what_would_help(text: str) -> None:
    said = told(text)
    assert CASES[text] in said
    assert said.startswith("mine.toml: ")
    assert "\n" not in said
    assert not [words for words in _OF_PYDANTIC if words in said]


def test_a_run_file_without_a_name() -> None:
    with pytest.raises(UserError, match=r"^mine\.toml: name: is missing: write name = \.\.\.$"):
        parse_config({}, "mine.toml")


@pytest.mark.parametrize("model", [RunConfig, *classes_of(DeriveSettings)])
def test_every_section_takes_values_as_they_are_written(model: type[BaseModel]) -> None:
    assert [one for one in {s.section for s in every_setting(model)} if not issubclass(one, Section)] == []


def test_settings_of_python_and_of_derive_are_taken_as_they_are_written() -> None:
    with pytest.raises(UserError, match="policy.n_steps: expected a whole number, not true"):
        stepmint.label(
            ["1 + 1"], policy={"kind": "simulated", "n_steps": True}, annotate=[{"kind": "verify"}]
        )
    with pytest.raises(UserError, match='tolerance: expected a whole number, not "2"'):
        parse_settings("scan", ("tolerance='2'",))


def test_everything_that_is_wrong_is_said_at_once() -> None:
    said = told("seed = 'x'\n[prompt]\ntop_p = 2\nstop = 'x'")
    assert said == (
        'mine.toml: seed: expected a whole number, not "x"; prompt.top_p: must be at most 1, not 2; '
        'prompt.stop: expected a list: ["x"]'
    )


OVERRIDES = {
    "promt.x=1": "no such section; did you mean [prompt]?",
    "prompt.temprature=1": "no such setting; did you mean `temperature`?",
    "propose.n=x": 'expected a whole number, not "x"',
    "policy.slip=0.3": '`slip` belongs to kind = "simulated"; this policy is "transformers"',
    "policy.kind=vlm": "did you mean",
    "policy=3": "expected a section [policy] with settings in it, not 3",
    "prompt.stop.x=1": "expected a list",
    "prompt.top_p.x=1": "expected a number, not a table",
    "seed.x=1": "seed is not a section",
    "x": "expected section.key=value",
    "=3": "expected section.key=value",
    "prompt.=3": "expected section.key=value",
    "prompt..top_p=3": "expected section.key=value",
}


@pytest.mark.parametrize("override", OVERRIDES)
def test_a_wrong_override_is_named_instead_of_the_file(override: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "r"\nseed = 1\n')
    with pytest.raises(UserError) as error:
        load_config(file, ("shards=2", override))
    assert str(error.value).startswith(f"--set {override}: ")
    assert OVERRIDES[override] in str(error.value)


def test_a_file_and_an_override_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "r"\nseed = "x"\n')
    with pytest.raises(UserError) as error:
        load_config(file, ("shards=0",))
    assert str(error.value) == (
        f'{file}: seed: expected a whole number, not "x"; --set shards=0: must be at least 1, not 0'
    )


def test_sections_without_a_kind_are_of_the_usual_one(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "r"\n')
    config = load_config(file, ("propose.n=6", "policy.in_flight=3"))
    assert (config.propose.kind, config.policy.kind) == ("sample", "transformers")


def test_settings_of_a_method_are_told_alike() -> None:
    with pytest.raises(
        UserError, match=r"^derive scan: tolerence: no such setting; did you mean `tolerance`\?"
    ):
        parse_settings("scan", ("tolerence=3",))
    with pytest.raises(
        UserError, match=r"^derive signals: policy\.slip: `slip` belongs to kind = \"simulated\""
    ):
        parse_settings("signals", ("policy.slip=0.3",))


def test_a_byte_order_mark_before_a_run_file_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b'\xef\xbb\xbfname = "r"\n')
    assert load_config(path).name == "r"


class _Rolled(Record):
    kind: Literal["rolled"] = "rolled"
    n: int = 1


class _Read(Record):
    kind: Literal["read"] = "read"
    prompts: tuple[str, ...] = ()


class _File(Record):
    annotate: tuple[Annotated[_Rolled | _Read, Field(discriminator="kind")], ...] = ()


@pytest.mark.parametrize(
    ("annotate", "said"),
    [
        ({"kind": "read"}, "annotate: expected a list of sections: write [[annotate]], not [annotate]"),
        ([{"kind": "rolled"}, 3], "annotate #2: expected a section [[annotate]] with settings in it, not 3"),
        ([{"kind": "red"}], 'annotate #1.kind: expected "rolled" or "read", not "red"; did you mean "read"?'),
        ([{"n": 3}], 'annotate #1.kind: is missing: write kind = "rolled" or "read"'),
        (
            [{"kind": "rolled"}, {"kind": "read", "n": 3}],
            '`n` belongs to kind = "rolled"; this read is "read"',
        ),
        ([{"kind": "read", "prompts": "x"}], 'annotate.read.prompts: expected a list: ["x"]'),
    ],
)
def test_sections_of_a_list_are_told_by_their_kind(annotate: Any, said: str) -> None:
    with pytest.raises(ValidationError) as error:
        _File.model_validate({"annotate": annotate})
    assert said in "; ".join(map(str, complaints(error.value.errors(), _File)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"seed = {'9' * 5000}", "not valid TOML: Exceeds the limit"),
        (f"x = {'[' * 5000}{']' * 5000}", "not valid TOML: maximum recursion depth"),
        ("name = 'r'\nx = 1\nx = 2", "not valid TOML"),
    ],
)
def test_a_file_that_no_parser_can_read_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=said):
        load_config(file)


@pytest.mark.parametrize("value", ["9" * 5000, "[" * 5000])
def test_an_override_that_no_parser_can_read_is_one_line(value: str) -> None:
    with pytest.raises(UserError, match="--set seed="):
        set_key({}, f"seed={value}")


def test_a_path_too_long_for_any_file_is_left_to_its_reader(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f"name = 'r'\n[problems]\npath = '{'x' * 5000}'")
    assert load_config(file).problems.path == "x" * 5000
    with pytest.raises(UserError, match="cannot be read: File name too long"):
        load_config(tmp_path / ("x" * 5000))
