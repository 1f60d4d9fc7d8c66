"""What listeners hear of a stage that does not end."""

import pytest

from flows import progress


def test_a_stage_that_is_cut_short_does_not_say_how_long_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.listening(progress.Lines()):
        with progress.stage("labelling", 4):
            progress.advance()
        with pytest.raises(KeyboardInterrupt), progress.stage("sealing"):
            raise KeyboardInterrupt
    assert capsys.readouterr().err.splitlines() == [
        "labelling: 4 problems",
        "labelling: 1/4",
        "labelling: 0 s",
        "sealing",
    ]


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
