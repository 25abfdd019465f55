"""Console and log file: what each of them gets, and that nothing stays set up."""

import logging
import pickle
import warnings
from argparse import Namespace

import pytest

from bpt_det.cli.logs import RESULT, console_log, kept_records, log_file
from bpt_det.utils import progress
from bpt_det.utils.compat import FALSE_ALARMS, describe_environment

OURS = logging.getLogger("bpt_det.engine.run")
THEIRS = logging.getLogger("detectron2.engine.hooks")


def options(**chosen):
    return Namespace(**{"quiet": False, "verbose": False, **chosen})


def log_everything():
    for logger, name in ((OURS, "our"), (THEIRS, "their")):
        logger.debug("%s detail", name)
        logger.info("%s message", name)
        logger.warning("%s warning", name)
    OURS.log(RESULT, "our result")
    progress.logger.info("our progress")


EVERYTHING = ["detail", "message", "warning"]


@pytest.mark.parametrize(
    ("chosen", "on_stdout", "on_stderr"),
    [
        ({}, ["our message", "our result", "our progress"], ["our warning", "their warning"]),
        ({"quiet": True}, ["our result"], ["our warning", "their warning"]),
    ],
)
def test_the_console_shows_what_was_asked_for(chosen, on_stdout, on_stderr, capsys):
    with console_log(options(**chosen), to_stdout=True):
        log_everything()
    out, err = capsys.readouterr()
    assert out.splitlines() == on_stdout
    assert err.splitlines() == [f"warning: {text}" for text in on_stderr]


def test_verbose_shows_the_lines_of_the_log_file(tmp_path, capsys):
    with console_log(options(verbose=True)), log_file(tmp_path):
        log_everything()
    log = (tmp_path / "log.txt").read_text()
    assert capsys.readouterr().err == log
    for who in ("our", "their"):
        assert all(f": {who} {what}\n" in log for what in EVERYTHING)
    assert "our progress" not in log  # Detectron2's lines on the losses say it


def test_a_command_without_these_options_shows_warnings_alone(capsys):
    with console_log(Namespace()):
        log_everything()
    out, err = capsys.readouterr()
    assert (out, err) == ("", "warning: our warning\nwarning: their warning\n")


def test_without_to_stdout_all_goes_to_stderr(capsys):
    with console_log(options()):
        OURS.info("a message")
    assert capsys.readouterr() == ("", "a message\n")


def test_nothing_stays_set_up(capsys, tmp_path):
    root = logging.getLogger()
    loggers = [OURS, THEIRS, logging.getLogger("bpt_det"), progress.logger, root]
    before = [(list(each.handlers), list(each.filters), each.level) for each in loggers]
    with pytest.raises(KeyError), console_log(options()), kept_records(), log_file(tmp_path):
        raise KeyError
    after = [(list(each.handlers), list(each.filters), each.level) for each in loggers]
    assert after == before
    OURS.info("unheard")
    assert capsys.readouterr() == ("", "")


def test_the_log_file_starts_with_what_was_logged_before_its_folder_was_known(tmp_path):
    with console_log(options()):
        with kept_records() as records:
            OURS.info("%s images", 12)
        sent = pickle.loads(pickle.dumps(records))  # as to another process
        with log_file(tmp_path, sent):
            OURS.info("later")
    first, second = (tmp_path / "log.txt").read_text().splitlines()
    assert first.endswith(": 12 images") and second.endswith(": later")


def test_an_escape_code_reaches_neither_the_console_nor_the_file(tmp_path, capsys):
    with console_log(options()), log_file(tmp_path):
        OURS.info("\x1b[32mgreen\x1b[0m")
    assert capsys.readouterr().err == "green\n"
    assert "\x1b" not in (tmp_path / "log.txt").read_text()


def test_a_traceback_is_for_the_log_file(tmp_path, capsys):
    """Python writes it on the console, when the error ends the command."""
    with console_log(options()), log_file(tmp_path):
        try:
            raise RuntimeError("no such kernel")
        except RuntimeError:
            OURS.exception("training failed")
    assert capsys.readouterr().err == ""
    assert "RuntimeError: no such kernel" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize("alarm", FALSE_ALARMS, ids=lambda alarm: alarm.text)
def test_a_false_alarm_is_left_out_and_another_message_of_its_logger_is_not(alarm):
    logger, messages = logging.getLogger(alarm.logger), []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())
    logger.addHandler(handler)
    try:
        with console_log(options()):
            logger.warning("\n%s and so on\n", alarm.text)
            logger.warning("a true alarm")
    finally:
        logger.removeHandler(handler)
    assert messages == ["a true alarm"]


def test_a_warning_of_python_is_one_line(capsys):
    with console_log(options()), warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("the scheduler was stepped first", stacklevel=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ") and line.endswith("the scheduler was stepped first")


def test_the_environment_calls_nothing_broken_that_works():
    text = describe_environment()
    assert "PyTorch" in text and "not built correctly: No module" not in text


def test_the_environment_does_without_a_compiler(monkeypatch, capfd):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "PyTorch" in describe_environment()
    assert capfd.readouterr().err == ""
