"""Submitted jobs, by submitit's executor of this machine."""

import os
import signal
import subprocess
import sys

import pytest

from bpt_det.cli.actions.submit import command_of
from bpt_det.cli.submit import main
from bpt_det.engine import read_result
from bpt_det.utils.errors import InputError
from tests.e2e.test_distributed import whole_run
from tests.e2e.test_launchers import wait_for_metrics
from tests.support.paths import ROOT

pytest.importorskip("submitit")


@pytest.fixture
def submit(tmp_path, monkeypatch):
    """Function that submits to this machine and waits; returns the exit status."""
    monkeypatch.chdir(ROOT)
    options = ["--cluster", "local", "--wait", "--folder", str(tmp_path / "jobs"), "--cpus", "1"]
    return lambda *arguments: main([*options, *arguments])


@pytest.mark.slow
def test_a_job_of_two_processes_is_one_run(shapes_root, tmp_path, submit):
    words = whole_run(shapes_root, tmp_path / "run", total_batch_size=4)
    assert submit("--processes", "2", "--", "train", *words) == 0
    result = read_result(tmp_path / "run")
    assert (result.status, result.iterations) == ("finished", 3)
    assert (tmp_path / "run/log.txt.rank1").is_file()
    (log,) = (tmp_path / "jobs").glob("*/*_0_log.out")
    assert "Training finished after 3 iterations" in log.read_text()


@pytest.mark.slow
def test_a_preempted_job_goes_on_by_itself(shapes_root, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    words = whole_run(shapes_root, tmp_path / "run", total_batch_size=2, max_iter=60)
    command = [sys.executable, "tools/submit.py", "--cluster", "local", "--wait", "--cpus", "1"]
    command += ["--folder", str(tmp_path / "jobs"), "--", "train", *words]
    waiting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    wait_for_metrics(tmp_path / "run")
    listed = subprocess.run(["ps", "-ewwo", "pid,args"], capture_output=True, text=True).stdout
    (task,) = [
        int(line.split()[0])
        for line in listed.splitlines()
        if "submitit.core._submit" in line and str(tmp_path) in line
    ]
    os.kill(task, signal.SIGUSR2)
    assert waiting.wait(timeout=200) == 0
    log = "".join(path.read_text() for path in (tmp_path / "jobs").glob("*/*_log.*"))
    assert "preempted: " in log and "Training finished after 60 iterations" in log
    assert read_result(tmp_path / "run").status == "finished"


def test_a_job_ends_with_the_status_of_its_command(tmp_path, submit):
    assert submit("--", "check", str(tmp_path / "none.json"), str(tmp_path)) == 2


def test_a_training_is_resumed_where_it_has_begun():
    assert command_of(["--", "train", "a=b"]) == ["train", "--resume", "a=b"]
    assert command_of(["--", "train", "--resume"]) == ["train", "--resume"]
    assert command_of(["--", "train", "--eval-only"]) == ["train", "--eval-only"]
    assert command_of(["--", "eval", "x"]) == ["eval", "x"]


@pytest.mark.parametrize("words", [[], ["--"], ["--", "trian"], ["--", "submit"], ["train_net.py"]])
def test_what_is_no_command_is_refused(words):
    with pytest.raises(InputError, match="is no command to submit; write one behind --"):
        command_of(words)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--nodes", "2"], "--cluster local is one machine, but --nodes is 2"),
        (["--cluster", "slurm"], "there is no SLURM here"),
        (["--nodes", "0"], "--nodes must be at least 1, got 0"),
        (["--hours", "0"], "--hours must be in"),
    ],
)
def test_what_cannot_be_submitted_is_one_line(submit, options, text, capsys):
    assert submit(*options, "--", "train") == 2
    err = capsys.readouterr().err
    assert text in err and "Traceback" not in err
