"""No key in a run file, and what is wrong with one is said without it."""

import pytest

from schemas.config import RunConfig, ServerConfig, parse_config
from schemas.errors import UserError


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@host/v1",
        "http://hunter2@host:80/v1",
        "https://host/v1?api_key=hunter2",
        "https://host/v1#hunter2",
        "ftp://hunter2",
        "http://host/hunter2 x",
        "http://host/\nhunter2",
        ["http://fine/v1", "http://user:hunter2@host/v1"],
    ],
)
@pytest.mark.parametrize("section", ["policy", "judge", "prover"])
def test_an_address_with_a_secret_is_refused_in_one_line_without_it(url: object, section: str) -> None:
    policy = {"kind": "server", "base_url": url}
    judged = {"annotate": [{"kind": section, "policy": policy}]}
    data = {"name": "r", **({"policy": policy} if section == "policy" else judged)}
    with pytest.raises(UserError) as refused:
        parse_config(data, "mine.toml")
    said = str(refused.value)
    assert "mine.toml" in said
    assert "base_url" in said
    assert "hunter2" not in said
    assert "\n" not in said


def test_a_key_in_place_of_its_variables_name_is_refused_without_it() -> None:
    with pytest.raises(UserError, match="not the key itself") as refused:
        parse_config(
            {"name": "r", "policy": {"kind": "server", "model": "m", "api_key_env": "sk-hunter2"}},
            "mine.toml",
        )
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/v1", "https://api.example.com/v1/", "http://[::1]:80"]
)
def test_plain_addresses_are_taken(url: str) -> None:
    assert ServerConfig(model="m", base_url=url).base_url == url
    assert ServerConfig(model="m", base_url=(url, url)).base_url == (url, url)


@pytest.mark.parametrize(
    "changes",
    [
        {"drop": ["model"]},
        *({"extra_body": {name: 1}} for name in ("n", "stream", "stop_token_ids", "continue_final_message")),
    ],
)
def test_what_a_request_needs_cannot_be_changed(changes: dict[str, object]) -> None:
    with pytest.raises(UserError, match="a request cannot do without it|is set by the run itself"):
        parse_config({"name": "r", "policy": {"kind": "server", "model": "m", **changes}}, "mine.toml")


def test_waiting_is_no_part_of_a_runs_identity_and_parameters_are() -> None:
    def digest(**policy: object) -> str:
        server = {"kind": "server", "model": "m", **policy}
        return RunConfig.model_validate({"name": "r", "policy": server}).digest()

    assert digest(patience_s=5) == digest()
    assert len({digest(), digest(drop=["top_p"]), digest(extra_body={"top_k": 5})}) == 3
