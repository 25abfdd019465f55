"""Runs that torchrun and srun start: two processes on the CPU, and what happens if one ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bpt_det.engine import read_result
from tests.e2e.test_distributed import assert_equal_runs, assert_equal_weights, train, whole_run
from tests.support.paths import ROOT

PROGRAM = [sys.executable, str(ROOT / "tools/train_net.py")]
# The same, where communication may last 12 seconds in place of 30 minutes.
IMPATIENT = """
import datetime, sys
import torch.distributed as dist
start, limit = dist.init_process_group, datetime.timedelta(seconds=12)
dist.init_process_group = lambda *args, **kwargs: start(*args, **{**kwargs, "timeout": limit})
from bpt_det.cli.train import main
sys.exit(main(sys.argv[1:]))
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def torchrun(*arguments):
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    words += ["--master-port", free_port(), *arguments]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.fixture
def start():
    """Function that starts one of two processes as srun does; all end with the test."""
    started, port = [], free_port()

    def start_rank(rank, *arguments, program=PROGRAM):
        step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)}
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        process = subprocess.Popen(
            [*program, *arguments],
            cwd=ROOT,
            env={**os.environ, **step, **meeting},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start_rank
    for process in started:
        process.kill()
        process.communicate()


def error_lines(*texts):
    return [line for text in texts for line in text.splitlines() if line.startswith("error: ")]


def test_torchrun_trains_one_run(shapes_root, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = torchrun(str(ROOT / "tools/train_net.py"), *two_processes(shapes_root, tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Training finished after 3 iterations") == 1
    alone = whole_run(shapes_root, tmp_path / "alone", total_batch_size=2, accumulate_steps=2)
    assert train(alone) == 0
    assert_equal_runs(tmp_path / "alone", tmp_path / "two")
    records = [json.loads(line) for line in (tmp_path / "two/metrics.json").open()]
    assert [r["iteration"] for r in records if "total_loss" in r] == [0, 1, 2]


def two_processes(shapes_root, folder, **settings):
    return whole_run(shapes_root, folder, total_batch_size=4, **settings)


@pytest.mark.slow
def test_unlike_settings_end_both_before_the_first_iteration(shapes_root, tmp_path, start):
    arguments = two_processes(shapes_root, tmp_path / "run")
    processes = [start(0, *arguments), start(1, *arguments, "optimizer.lr=0.5")]
    texts = [process.communicate(timeout=200)[1] for process in processes]
    assert [process.returncode for process in processes] == [2, 2]
    (line,) = error_lines(*texts)
    assert "optimizer.lr of process 1 is 0.5, but 0.001 of process 0" in line
    assert not list((tmp_path / "run").glob("*.pth"))


@pytest.mark.slow
def test_a_process_that_is_slow_to_evaluate_is_waited_for(shapes_root, tmp_path, start):
    hook = {"_target_": "tests.support.killing.SlowEvaluation", "process": 1, "seconds": 24}
    slow = [*two_processes(shapes_root, tmp_path / "slow", hooks=[hook]), "--trust", "tests"]
    quick = two_processes(shapes_root, tmp_path / "quick")
    for arguments in (slow, quick):
        program = [sys.executable, "-c", IMPATIENT]
        processes = [start(rank, *arguments, program=program) for rank in range(2)]
        texts = [process.communicate(timeout=200)[1] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], texts
    assert_equal_runs(tmp_path / "slow", tmp_path / "quick")


def wait_for_metrics(folder):
    metrics = folder / "metrics.json"
    for _ in range(200):
        if metrics.is_file() and metrics.stat().st_size:
            return
        time.sleep(0.5)
    raise TimeoutError(metrics)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_after_the_same_iteration(shapes_root, tmp_path, start):
    arguments = two_processes(shapes_root, tmp_path / "run", max_iter=100_000)
    processes = [start(rank, *arguments) for rank in range(2)]
    wait_for_metrics(tmp_path / "run")
    processes[1].send_signal(signal.SIGUSR1)
    texts = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [75, 75]
    (line,) = [line for text in texts for line in text.splitlines() if "preempted: " in line]
    result = read_result(tmp_path / "run")
    assert result.status == "preempted" and "stopped by SIGUSR1" in line
    assert f"model_{result.iterations - 1:07d}.pth" in line
    assert (tmp_path / f"run/model_{result.iterations - 1:07d}.pth").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_to_the_process_that_num_gpus_was_given_to_stops_all(
    shapes_root, tmp_path, number
):
    """On the CPU, where Detectron2's launch ends; a stand-in starts processes as it does."""
    words = [*two_processes(shapes_root, tmp_path / "run", max_iter=100_000), "--num-gpus", "2"]
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.support.launch_on_cpu", *words],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_metrics(tmp_path / "run")
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split()
    parent.send_signal(number)
    err = parent.communicate(timeout=100)[1]
    assert parent.returncode == 75, err
    assert len(children) >= 2 and not any(Path(f"/proc/{pid}").exists() for pid in children)
    (line,) = [line for line in err.splitlines() if "preempted: " in line]
    result = read_result(tmp_path / "run")
    assert result.status == "preempted" and f"stopped by {number.name}" in line
    assert (tmp_path / f"run/model_{result.iterations - 1:07d}.pth").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("process", [0, 1])
def test_a_signal_to_one_process_before_the_first_iteration_stops_both(
    shapes_root, tmp_path, start, process
):
    hook = {"_target_": "tests.support.killing.StopAtStart", "process": process}
    arguments = two_processes(shapes_root, tmp_path / "run", hooks=[hook])
    processes = [start(rank, *arguments, "--trust", "tests") for rank in range(2)]
    texts = [process.communicate(timeout=100)[1] for process in processes]
    assert [process.returncode for process in processes] == [75, 75], texts
    (line,) = [line for text in texts for line in text.splitlines() if "preempted: " in line]
    assert "stopped by SIGTERM" in line and not error_lines(*texts)
    assert read_result(tmp_path / "run").status == "preempted"


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "by"), [(1, "SIGKILL"), (1, "SIGSTOP"), (0, "SIGKILL")])
def test_a_process_that_is_gone_ends_the_others_within_a_minute(
    shapes_root, tmp_path, start, victim, by
):
    arguments = two_processes(shapes_root, tmp_path / "run", max_iter=100_000, peer_timeout=10)
    processes = [start(rank, *arguments) for rank in range(2)]
    wait_for_metrics(tmp_path / "run")
    processes[victim].send_signal(getattr(signal, by))
    begin = time.monotonic()
    survivor = processes[1 - victim]
    _, err = survivor.communicate(timeout=100)
    assert time.monotonic() - begin < 60
    assert survivor.returncode == 1
    (line,) = error_lines(err)
    assert f"process {victim}" in line
    if victim == 1:
        result = read_result(tmp_path / "run")
        assert result.status == "failed" and "process 1 of 2" in result.error


@pytest.mark.slow
def test_torchrun_goes_on_after_a_killed_process(shapes_root, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    killing = two_processes(
        shapes_root,
        tmp_path / "killed",
        hooks=[{"_target_": "tests.support.killing.KillOnce", "rank": 1, "iteration": 2}],
        checkpointer={"period": 1, "max_to_keep": 2},
    )
    words = ["--max-restarts", "1", str(ROOT / "tools/train_net.py"), "--trust", "tests"]
    done = torchrun(*words, *killing)
    assert done.returncode == 0, done.stderr
    assert "Training finished after 3 iterations" in done.stdout
    alone = whole_run(shapes_root, tmp_path / "alone", total_batch_size=2, accumulate_steps=2)
    assert train(alone) == 0
    assert_equal_weights(tmp_path / "alone", tmp_path / "killed")
