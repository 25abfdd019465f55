"""Requests to stop a run: what several processes make of signals that reach them one by one."""

import multiprocessing
import os
import signal
import sys

import pytest
import torch

from bpt_det.engine.stopping import StopRequests, signals_to_children
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


def end_at_a_signal(is_ready):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    is_ready.set()
    signal.pause()


def test_a_process_that_waits_for_others_hands_signals_on():
    context = multiprocessing.get_context("fork")
    events = [context.Event() for _ in range(2)]
    children = [context.Process(target=end_at_a_signal, args=(event,)) for event in events]
    with signals_to_children():
        for child, event in zip(children, events, strict=True):
            child.start()
            assert event.wait(30)
        os.kill(os.getpid(), signal.SIGTERM)
        for child in children:
            child.join(30)
    assert [child.exitcode for child in children] == [75, 75]


def test_without_others_a_signal_is_for_the_process_itself():
    received = []
    earlier = signal.signal(signal.SIGUSR1, lambda number, _: received.append(number))
    try:
        with signals_to_children():
            os.kill(os.getpid(), signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, earlier)
    assert received == [signal.SIGUSR1]
