"""Processes of a launcher: their place, what they must have in common, whose end ends all."""

import socket

import pytest

from bpt_det.engine.processes import (
    Peers,
    Place,
    check_equal,
    find_place,
    first_host,
    peers_of_run,
)
from bpt_det.utils.errors import InputError
from tests.support.processes import run_in_two_processes

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "gpu1",
    "MASTER_PORT": "1234",
    "TORCHELASTIC_RESTART_COUNT": "1",
}
SRUN = {
    "SLURM_PROCID": "3",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_NODES": "2",
    "SLURM_STEP_NODELIST": "gpu[03-05,09],cpu1",
    "SLURM_JOB_ID": "70042",
}


def test_torchrun_and_srun_tell_the_place():
    assert find_place(TORCHRUN) == Place("torchrun", 3, 4, 1, 2, "gpu1", 1234, 1)
    assert find_place(SRUN) == Place("srun", 3, 4, 1, 2, "gpu03", 29542)
    assert find_place({**SRUN, "MASTER_ADDR": "a", "MASTER_PORT": "5"}).port == 5


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"},  # sbatch, outside srun
        {**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"},
        {**SRUN, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1"},
    ],
)
def test_one_process_is_on_its_own(environment):
    assert find_place(environment) is None


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({**TORCHRUN, "RANK": "x"}, "RANK must be a whole number, as torchrun sets it, got 'x'"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "LOCAL_RANK must be a whole number"),
        ({**TORCHRUN, "WORLD_SIZE": "3"}, "3 processes cannot be 2 on every machine"),
        ({**SRUN, "SLURM_STEP_NUM_TASKS": "3"}, "3 processes cannot be 2 on every machine"),
    ],
)
def test_a_place_that_makes_no_sense_is_refused(environment, text):
    with pytest.raises(InputError, match=text):
        find_place(environment)


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("gpu7", "gpu7"),
        ("gpu7,gpu8", "gpu7"),
        ("gpu[1-3]", "gpu1"),
        ("gpu[07,09-11]", "gpu07"),
        ("a[1-2]b,c", "a1b"),
    ],
)
def test_the_first_host_of_a_list_of_slurm(nodes, host):
    assert first_host(nodes) == host


def test_a_port_that_is_taken_is_named(monkeypatch):
    for name in ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE"):
        monkeypatch.setenv(name, "")  # what it sets ends with the test
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"process 0 of 2 cannot meet .* 127.0.0.1:{port} "):
            Peers(Place("srun", 0, 2, 0, 2, "127.0.0.1", port))
    assert peers_of_run() is None


def differ(rank, folder):
    with pytest.raises(InputError) as caught:
        check_equal({"train.seed": "0", "optimizer.lr": str(0.1 + rank)})
    (folder / f"{rank}.txt").write_text(str(caught.value))
    check_equal({"train.seed": "0"})


def test_processes_that_differ_are_told_in_what(tmp_path):
    run_in_two_processes(differ, tmp_path, tmp_path)
    texts = {path.read_text() for path in tmp_path.glob("*.txt")}
    assert texts == {
        "optimizer.lr of process 1 is 1.1, but 0.1 of process 0; start all processes with the same "
        "command, code and data."
    }
