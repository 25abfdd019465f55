"""Faults of the machine: loading processes that die, stop or lack memory; memory; disks."""

import errno
import os
import signal
import time

import pytest
import torch
from omegaconf import OmegaConf

from bpt_det.engine import TestLoader, TrainLoader
from bpt_det.engine.faults import explain_fault, explained_faults
from bpt_det.engine.workers import collate_in_shared_memory
from bpt_det.utils.errors import InputError

CFG = OmegaConf.create({"dataloader": {"image_size": 640, "train": {"total_batch_size": 16}}})
RECORDS = [{"index": i} for i in range(6)]


def load(record):
    return {"image": torch.full((3, 8, 8), float(record["index"])), "pid": os.getpid()}


def stop_self(record):
    if record["index"] == 3:
        os.kill(os.getpid(), signal.SIGSTOP)
    return load(record)


def end_self(record):
    if record["index"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return load(record)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.heavy
@pytest.mark.parametrize("loader", [TestLoader, TrainLoader])
def test_a_stopped_loading_process_ends_a_run_in_time_with_its_cause(loader):
    size = {"batch_size": 1} if loader is TestLoader else {"total_batch_size": 1}
    batches = loader(RECORDS, stop_self, num_workers=1, timeout=1, **size)
    pids = set()
    start = time.monotonic()
    with pytest.raises(InputError, match=r"no batch for 1 s: .* dataloader.train.num_workers"):
        for (sample,) in batches:
            pids.add(sample["pid"])
    assert time.monotonic() - start < 30
    assert not any(map(is_running, pids))  # nothing waits for it when Python ends


@pytest.mark.heavy
def test_a_killed_loading_process_is_one_line_with_the_likely_cause():
    batches = TestLoader(RECORDS, end_self, num_workers=1)
    with pytest.raises(InputError, match=r"process died: .*\(pid.*run out of memory") as raised:
        with explained_faults(CFG):
            list(batches)
    assert raised.value.hint == "shared_memory" and "\n" not in str(raised.value)


@pytest.mark.heavy
def test_loading_processes_end_with_the_loop_over_their_batches():
    batches = iter(TrainLoader(RECORDS, load, total_batch_size=2, num_workers=2))
    pids = {sample["pid"] for _ in range(4) for sample in next(batches)}
    assert len(pids) == 2 and all(map(is_running, pids))
    batches.close()
    assert not any(map(is_running, pids))


@pytest.mark.heavy
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_to_the_whole_group_leaves_the_loading_processes_at_work(number):
    batches = iter(TrainLoader(RECORDS, load, total_batch_size=1, num_workers=1))
    (sample,) = next(batches)
    os.kill(sample["pid"], number)
    assert [next(batches)[0]["pid"] for _ in range(4)] == [sample["pid"]] * 4
    batches.close()


def test_a_batch_that_does_not_fit_into_shared_memory_is_an_input_error(monkeypatch):
    def fail(self):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: Success (0)")

    batch = [{"image": torch.ones(3), "boxes": [torch.ones(4)], "path": "a.jpg"}]
    assert collate_in_shared_memory(batch) is batch
    assert batch[0]["image"].is_shared() and batch[0]["boxes"][0].is_shared()
    monkeypatch.setattr(torch.Tensor, "share_memory_", fail)
    (error,) = collate_in_shared_memory(batch)
    assert isinstance(error, InputError) and "/dev/shm" in str(error)


@pytest.mark.parametrize("timeout", [0, -1, "long", True, None])
def test_a_timeout_that_is_no_time_is_refused(timeout):
    with pytest.raises(InputError, match="timeout must be a positive number of seconds"):
        TestLoader(RECORDS, load, timeout=timeout)


@pytest.mark.parametrize(
    ("error", "device"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), "GPU"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), "CPU"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), "CPU"),
        (MemoryError(), "CPU"),
    ],
)
def test_exhausted_memory_names_batch_image_size_and_the_memory_tool(error, device):
    explained = explain_fault(error, CFG)
    assert f"({device}) with batches of 16 images of 640 pixels" in str(explained)
    assert explained.hint == "memory"


def test_an_allocation_that_really_fails_is_understood():
    with pytest.raises(InputError, match=r"out of memory \(CPU\)"), explained_faults(CFG):
        torch.empty(1 << 60, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("number", "asks"), [(errno.ENOSPC, True), (errno.EROFS, False), (errno.EIO, False)]
)
def test_only_a_full_disk_is_called_full(number, asks):
    text = str(explain_fault(OSError(number, os.strerror(number), "a.json"), CFG))
    assert "cannot write 'a.json'" in text and text.endswith("is the disk full?") == asks


@pytest.mark.parametrize("error", [RuntimeError("no such kernel"), OSError(2, "x"), KeyError("a")])
def test_other_errors_stay_what_they_are(error):
    assert explain_fault(error, CFG) is None
    with pytest.raises(type(error)), explained_faults(CFG):
        raise error
