"""What a refusal asks for: how long to wait, in seconds or until a date."""

import asyncio
import time
from email.utils import formatdate

import httpx
import pytest

from pipeline.policies.server.refusals import Busy, Failed, check_status


def wait_s(status: int = 429, **headers: str) -> float:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    with pytest.raises(Busy) as busy:
        asyncio.run(check_status(httpx.Response(status, headers=named), ""))
    return busy.value.wait_s


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0.5", 0.5),
        ("0", 0),
        ("9" * 12, 1e7),
        ("-3", 0),
        ("soon", 0),
        ("", 0),
        ("1e3", 0),
    ],
)
def test_retry_after_in_seconds(header: str, seconds: float) -> None:
    assert wait_s(retry_after=header) == seconds


@pytest.mark.parametrize("ahead", [90, 3600])
def test_retry_after_as_a_date_of_http(ahead: int) -> None:
    # A date has whole seconds, and some pass before it is read.
    assert ahead - 2 <= wait_s(retry_after=formatdate(time.time() + ahead, usegmt=True)) <= ahead


@pytest.mark.parametrize(
    "date", [formatdate(0, usegmt=True), "Fri, 99 Foo 2026 00:00:00 GMT", "Thu, 01 Jan 1970"]
)
def test_a_date_in_the_past_or_none_at_all_is_no_wait(date: str) -> None:
    assert wait_s(retry_after=date) == 0


def test_milliseconds_count_where_a_server_sends_them() -> None:
    assert wait_s(retry_after_ms="1500", retry_after="2") == 1.5
    assert wait_s(retry_after_ms="1500") == 1.5
    assert wait_s(retry_after_ms="x", retry_after="2") == 2


def test_a_server_error_with_retry_after_is_busy_and_without_it_failed() -> None:
    assert wait_s(500, retry_after="3") == 3
    with pytest.raises(Failed):
        asyncio.run(check_status(httpx.Response(500), ""))
