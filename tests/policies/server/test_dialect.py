"""What a request's body holds."""

import json

import pytest

from pipeline.policies.base import Prompt, Sampling
from pipeline.policies.server.dialect import Dialect


@pytest.mark.parametrize("chat", [True, False])
def test_a_json_schema_is_sent_as_the_form_of_the_reply(*, chat: bool) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    dialect = Dialect(chat=chat)
    body = dialect.request("m", Prompt("p"), 1, Sampling(json_schema=json.dumps(schema)))
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "reply", "strict": True, "schema": schema},
    }
    assert "response_format" not in dialect.request("m", Prompt("p"), 1, Sampling())
    # A server that wants it said otherwise: without ours, and in its own words.
    other = Dialect(chat=chat, drop=("response_format",), extra={"guided_json": schema})
    body = other.request("m", Prompt("p"), 1, Sampling(json_schema=json.dumps(schema)))
    assert (body.get("response_format"), body["guided_json"]) == (None, schema)
