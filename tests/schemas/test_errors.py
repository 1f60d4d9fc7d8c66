"""No error says a secret, and a disk's trouble is recognised however it is wrapped."""

import errno
import pickle

import pytest

from pipeline.policies import open_policy
from schemas.config import ServerConfig
from schemas.errors import BackendError, UserError, disk_trouble, redacted

KEY = "sk-very/secret+0123"


@pytest.mark.parametrize(
    "name", ["OPENAI_API_KEY", "HF_TOKEN", "MY_SECRET", "DB_PASSWORD", "WANDB_APIKEY", "hf_token", "KEY"]
)
def test_values_of_secret_variables_are_hidden(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, KEY)
    assert redacted(f"answered 401: no such key {KEY}.") == "answered 401: no such key ***."
    for kind in (UserError, BackendError):
        error = kind(f"{KEY} and {KEY}")
        again = pickle.loads(pickle.dumps(error))
        assert KEY not in f"{error} {error!r} {error.args} {again!r}"


def test_the_key_of_a_server_is_hidden_whatever_its_variable_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_LLM", KEY)
    assert redacted(KEY) == KEY
    open_policy(ServerConfig(model="m", base_url="http://127.0.0.1:1/v1", api_key_env="MY_LLM"))
    assert redacted(KEY) == "***"


def test_one_secret_that_begins_another_hides_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "abcdef")
    monkeypatch.setenv("B_TOKEN", "abcdefgh")
    assert redacted("abcdefgh abcdef") == "*** ***"


@pytest.mark.parametrize(("name", "value"), [("HF_TOKEN", "true"), ("TOKENIZERS", "disabled"), ("HOME", KEY)])
def test_other_values_stay(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert redacted(f"it is {value}") == f"it is {value}"


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("http://me:pw@host:80/v1", "http://***@host:80/v1"),
        ("at https://tok@h/a, mail a@b.c", "at https://***@h/a, mail a@b.c"),
        ("postgresql+asyncpg://u:p@ss@db/x", "postgresql+asyncpg://***@db/x"),
        ("http://host/a@b?c=d@e", "http://host/a@b?c=d@e"),
    ],
)
def test_users_and_passwords_leave_addresses(said: str, left: str) -> None:
    assert redacted(said) == left
    assert str(BackendError(said)) == left


def test_errors_without_secrets_are_as_they_were() -> None:
    assert str(UserError("row 3: no `answer`")) == "row 3: no `answer`"
    assert str(UserError()) == ""
    assert UserError(3).args == ("3",)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "x", "a/b"), "a/b: No space left on device"),
        (OSError(errno.EDQUOT, "x"), "out: Disk quota exceeded"),
        (PermissionError(errno.EACCES, "x", "a"), "a: Permission denied"),
        (
            RuntimeError("IoError(Os { code: 28, message: No space left on device })"),
            "out: No space left on device",
        ),
        (ConnectionResetError(errno.ECONNRESET, "x"), ""),
        (ValueError("x"), ""),
    ],
)
def test_the_trouble_of_a_disk_is_named(error: Exception, said: str) -> None:
    assert disk_trouble(error, "out") == said
    wrapped = RuntimeError("saving failed")
    wrapped.__cause__ = error
    assert disk_trouble(wrapped, "out") == said
