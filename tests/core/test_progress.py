"""Progress writes plain lines where there is no terminal, and nothing when quiet."""

import io

import pytest

from fewshot.core import progress
from fewshot.core.progress import Progress


def test_a_stream_that_is_no_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_SECONDS", 0.0)
    stream = io.StringIO()

    with Progress(4, label="embed", unit="images", stream=stream) as bar:
        bar.advance(2, note="1 failed")

    assert stream.getvalue().startswith("embed: 2 of 4 images, ")
    assert stream.getvalue().endswith(", 1 failed\n")


def test_lines_come_no_more_often_than_every_thirty_seconds() -> None:
    stream = io.StringIO()

    with Progress(None, label="embed", unit="images", stream=stream) as bar:
        for _ in range(100):
            bar.advance()

    assert stream.getvalue() == ""
    assert bar.done == 100


def test_quiet_progress_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_SECONDS", 0.0)
    stream = io.StringIO()

    with Progress(1, label="embed", unit="images", quiet=True, stream=stream) as bar:
        bar.advance()
        bar.say("a line")

    assert stream.getvalue() == ""


def test_the_first_of_many_says_nothing_of_how_long_the_rest_will_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_SECONDS", 0.0)
    stream = io.StringIO()

    with Progress(650, label="embed", unit="images", stream=stream) as bar:
        bar.advance()
        bar.advance(31)

    first, second = stream.getvalue().splitlines()
    assert "left" not in first
    assert second.endswith(" left")
