"""The file that a run leaves: strict JSON, read back as it was, and the table of exit statuses."""

import json
import shutil

import pytest
from omegaconf import OmegaConf

from bpt_det.engine.hooks.recorder import ResultRecorder
from bpt_det.engine.result import (
    DivergenceError,
    RunResult,
    end_killed_run,
    exit_status_of,
    read_result,
    status_of,
)
from bpt_det.utils.errors import InputError


def test_a_result_is_read_back_as_it_was_written(tmp_path):
    result = RunResult(status="finished", iterations=3, seconds=1.5, command=["train", "a=b c"])
    result.metrics["last"] = {"bbox/AP": 41.25}
    result.write(tmp_path)
    assert read_result(tmp_path) == result


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_becomes_null(tmp_path, value):
    result = RunResult()
    result.metrics["last"] = {"bbox/AP": value}
    result.write(tmp_path)

    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads((tmp_path / "result.json").read_text(), parse_constant=refuse)
    assert content["metrics"]["last"] == {"bbox/AP": None}


def test_a_folder_without_a_result_is_refused(tmp_path):
    with pytest.raises(InputError, match=rf"'{tmp_path}' holds no result\.json"):
        read_result(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", '{"status": "finished", "color": 1}', '{"status": "done"}'),
        '{"status": "finished", "metrics": {"last": 3, "best": {}, "final": {}}}',
        '{"status": "finished", "metrics": {"last": {"AP": "1"}, "best": {}, "final": {}}}',
        '{"status": ["finished"]}',
        '{"seconds": ' + "9" * 5000 + "}",
        "[" * 100_000,
    ],
    ids=str.__len__,
)
def test_a_damaged_result_is_refused(tmp_path, text):
    (tmp_path / "result.json").write_text(text)
    with pytest.raises(InputError, match=r"result\.json' is damaged"):
        read_result(tmp_path)


def test_a_large_result_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setenv("BPT_DET_MAX_RESULT_BYTES", "100")
    RunResult().write(tmp_path)
    with pytest.raises(InputError, match="more than the 100 .* BPT_DET_MAX_RESULT_BYTES="):
        read_result(tmp_path)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (KeyboardInterrupt(), "interrupted", 130),
        (DivergenceError("loss=nan"), "diverged", 3),
        (InputError("no such file"), "failed", 2),
        (RuntimeError("no such kernel"), "failed", 1),
    ],
)
def test_an_error_has_a_status_and_an_exit_status(error, status, code):
    assert status_of(error) == status
    assert exit_status_of(error) == code


def test_an_error_that_ctrl_c_led_to_is_an_interruption():
    try:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("unexpected end")  # as torch.save while it ends
    except RuntimeError as error:
        cause = error
    error = InputError("cannot write")
    error.__context__ = cause
    assert status_of(error) == "interrupted"
    assert exit_status_of(error) == 130


@pytest.mark.parametrize("error", [None, KeyError("a bug")])
def test_a_result_that_cannot_be_written_hides_no_error_of_the_run(tmp_path, error, caplog):
    folder = tmp_path / "run"
    folder.mkdir()
    cfg = OmegaConf.create({"train": {"output_dir": str(folder)}})
    with pytest.raises(InputError if error is None else KeyError) as caught:
        with ResultRecorder(cfg, folder):
            shutil.rmtree(folder)
            folder.touch()
            if error is not None:
                raise error
    text = caplog.text if error is not None else str(caught.value)
    assert f"cannot write '{folder}/result.json'" in text


@pytest.mark.parametrize(("code", "status"), [(2, "failed"), (3, "diverged"), (1, "failed")])
def test_a_run_whose_main_process_was_killed_is_ended(tmp_path, code, status):
    end_killed_run(tmp_path, code)  # nothing has begun
    RunResult(iterations=3).write(tmp_path)
    end_killed_run(tmp_path, code)
    result = read_result(tmp_path)
    assert (result.status, result.iterations) == (status, 3) and str(code) in result.error
    RunResult(status="finished").write(tmp_path)
    end_killed_run(tmp_path, code)
    assert read_result(tmp_path).status == "finished"
