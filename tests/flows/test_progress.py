"""What listeners hear of a stage that does not end."""

import logging
import time

import pytest

from flows import progress
from flows.cli import _set_logging


def test_a_stage_that_is_cut_short_does_not_say_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.listening(progress.Lines()):
        with progress.stage("labelling", 4):
            progress.advance()
        with pytest.raises(KeyboardInterrupt), progress.stage("sealing"):
            raise KeyboardInterrupt
    assert capsys.readouterr().err.splitlines() == [
        "labelling: 4 problems",
        "labelling: 0 s",
        "sealing",
    ]


def test_a_log_file_says_how_far_it_is_how_fast_and_how_long_it_will_take(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = progress.Lines()
    with progress.listening(lines), progress.stage("labelling", 40, 10):
        assert lines._so_far(60) == "10/40 (25%), 1 min 00 s"  # none is done since it went on
        progress.note("shard 1 of 2: loading simulated")
        for _ in range(10):
            progress.advance()
        assert lines._so_far(60) == "20/40 (50%), 1 min 00 s, 10 a minute, about 2 min 00 s left"
    with progress.listening(lines), progress.stage("sealing"):
        assert lines._so_far(20) == "20 s so far"
    assert "shard 1 of 2: loading simulated" in capsys.readouterr().err.splitlines()


def test_a_log_file_moves_while_nothing_is_done_and_rests_when_the_stage_is_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Problems are labelled side by side: of the first there may be no news for minutes."""
    with progress.listening(progress.Lines(every=0.01)), progress.stage("labelling", 4):
        seen = ""
        for _ in range(500):
            time.sleep(0.01)
            seen += capsys.readouterr().err
            if seen.count("labelling: 0/4 (0%), 0 s") >= 2:
                break
    assert seen.count("labelling: 0/4 (0%), 0 s") >= 2
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("total", [3, None])
def test_a_bar_that_is_cut_short_shows_the_cursor_again(
    total: int | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    shown = progress.listening(progress.Bars())
    with shown, pytest.raises(KeyboardInterrupt), progress.stage("sealing", total):
        raise KeyboardInterrupt
    err = capsys.readouterr().err
    assert err.count("\x1b[?25l") == err.count("\x1b[?25h") == 1
    assert "100%" not in err


def test_what_policies_warn_of_is_a_line_beside_the_progress(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that waited for a slow server said nothing but how little was done."""
    log = logging.getLogger("pipeline.policies")
    monkeypatch.setattr(log, "handlers", [])
    _set_logging(verbose=False)
    _set_logging(verbose=False)
    endpoints = logging.getLogger("pipeline.policies.server.endpoints")
    with progress.listening(progress.Lines()):
        endpoints.warning("no reply from %s;\nasking for less", "http://me:pass@host")
        endpoints.info("waiting")
    assert capsys.readouterr().err == "no reply from http://***@host; asking for less\n"
    endpoints.warning("nobody listens")
    assert not capsys.readouterr().err
