"""Requests to stop a run: what several processes make of signals that reach them one by one."""

import os
import signal

import pytest
import torch

from bpt_det.engine.stopping import StopRequests
from bpt_det.utils.errors import InputError
from tests.support.processes import run_in_two_processes


def hear_of_it_first(rank, folder):
    with StopRequests() as stops, stops.deferred():
        if rank == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        assert stops.is_requested(torch.device("cpu"))
        if rank == 1:  # the scheduler reaches this process a moment later
            os.kill(os.getpid(), signal.SIGTERM)
    (folder / f"{rank}.txt").write_text(str(stops.error("")))


def test_a_signal_that_comes_after_the_request_of_another_process_is_no_second_one(tmp_path):
    run_in_two_processes(hear_of_it_first, tmp_path, tmp_path)
    texts = [path.read_text() for path in tmp_path.glob("*.txt")]
    assert texts == ["stopped by SIGTERM: "] * 2


@pytest.mark.parametrize("hours", [0, -1, float("nan"), 1e6, True, "1h"])
def test_a_limit_that_is_no_time_is_refused(hours):
    with pytest.raises(InputError, match="train.max_time must be a positive number of hours"):
        StopRequests(hours)
