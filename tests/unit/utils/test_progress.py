"""Progress: bars on a terminal, lines elsewhere, nothing where the log is quiet."""

import io
import logging

import pytest

from bpt_det.utils import progress
from bpt_det.utils.progress import Tracked, format_seconds, progress_bar, shows_bar


class Terminal(io.StringIO):
    def isatty(self):
        return True


def use_terminal(monkeypatch):
    """Called in a test: before it, pytest sets the streams itself."""
    stream = Terminal()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("sys.stderr", stream)
    return stream


@pytest.fixture
def loud():
    level = progress.logger.level
    progress.logger.setLevel(logging.INFO)
    yield
    progress.logger.setLevel(level)


@pytest.mark.usefixtures("loud")
def test_batches_pass_with_a_bar_on_a_terminal(monkeypatch):
    terminal = use_terminal(monkeypatch)
    batches = Tracked([[1], [2, 3]], "evaluating")
    assert shows_bar() and len(batches) == 2
    assert list(batches) == [[1], [2, 3]]
    assert "evaluating:   0%|" in terminal.getvalue()


@pytest.mark.usefixtures("loud")
def test_elsewhere_a_line_from_time_to_time_says_what_is_left(monkeypatch, caplog, capsys):
    clock = iter(range(0, 1000, 20))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    assert list(Tracked("abcde", "evaluating")) == list("abcde")
    assert caplog.messages == [
        "evaluating: 2 of 5 batches, 0:01:00 left",
        "evaluating: 4 of 5 batches, 0:00:20 left",
    ]
    assert capsys.readouterr() == ("", "")


def test_where_info_is_not_let_through_there_is_no_bar(monkeypatch):
    terminal = use_terminal(monkeypatch)
    progress.logger.setLevel(logging.WARNING)
    try:
        with progress_bar(total=2) as bar:
            bar.update()
    finally:
        progress.logger.setLevel(logging.NOTSET)
    assert bar.disable and terminal.getvalue() == ""


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00:00"), (3723, "1:02:03")])
def test_seconds_are_shown_as_hours_minutes_and_seconds(seconds, text):
    assert format_seconds(seconds) == text
