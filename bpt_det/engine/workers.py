"""Loading processes: what ends them, what they ignore, and what is said where they fail."""

import io
import math
import pickle
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from detectron2.data.build import trivial_batch_collator
from torch.utils.data._utils import signal_handling

from bpt_det.utils.errors import InputError, check_positive, one_line

from .faults import dead_worker
from .stopping import ignore_stop_signals

TIMEOUT = 300.0  # seconds
_ENDING_SECONDS = 2.0  # from the end of the pipe of a process to its own


def raise_input_errors(batches: Iterable[list], timeout: float = TIMEOUT) -> Iterator[list]:
    """Yield batches of samples; an `InputError` among the samples is raised.

    Args:
        batches: such as a DataLoader, whose loading processes end with this generator.
        timeout: seconds to wait for one of them.

    Raises:
        InputError: a sample is one, or the loading processes give none in time.
    """
    iterator = iter(batches)
    with _Watch(iterator, timeout) as watch:
        while (batch := watch.next_batch()) is not None:
            for sample in batch:
                if isinstance(sample, InputError):
                    raise sample
            yield batch


class _Watch:
    """Ends loading processes that give no batch in time, and those that are not needed any more.

    The timeout of a DataLoader is not enough: it waits for the memory of a batch too, which is
    handed over by a process that may be stopped.
    """

    def __init__(self, iterator: Any, timeout: float) -> None:
        self.iterator = iterator
        self.timeout = timeout
        self.workers = getattr(iterator, "_workers", ())  # none: samples are loaded in this process
        self.has_fired = False
        self._deadline = math.inf
        self._is_over = threading.Event()

    def __enter__(self) -> "_Watch":
        if self.workers:
            threading.Thread(target=self._wait, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        """Kill the processes: one that is stopped would not end, and Python would wait for it."""
        self._is_over.set()
        if getattr(self.iterator, "_shutdown", True):  # it has none, or has ended them
            return
        self.iterator._shutdown = True  # it neither waits for them nor takes their end for a fault
        if self.iterator._worker_pids_set:
            signal_handling._remove_worker_pids(id(self.iterator))
            self.iterator._worker_pids_set = False
        for queue in self.iterator._index_queues:
            queue.cancel_join_thread()
        for worker in self.workers:
            worker.kill()
        for worker in self.workers:
            worker.join()

    def next_batch(self) -> list | None:
        """Return the next batch, None at the end.

        Raises:
            InputError: a process died, or none has given a batch in time.
        """
        self._deadline = time.monotonic() + self.timeout
        try:
            return next(self.iterator, None)
        except (RuntimeError, OSError, EOFError) as error:
            if self.has_fired:
                raise self._late() from error
            worker = self._find_dead()
            if worker is None:
                raise
            reason = str(error) or f"worker (pid {worker.pid}) ended with {worker.exitcode}"
            raise dead_worker(reason) from error
        finally:
            self._deadline = math.inf

    def _find_dead(self) -> Any:
        """Return a process that has ended by a fault, or None; its pipe may end before it has."""
        end = time.monotonic() + _ENDING_SECONDS
        while self.workers:
            for worker in self.workers:
                if worker.exitcode:
                    return worker
            if time.monotonic() > end:
                break
            time.sleep(0.05)
        return None

    def _wait(self) -> None:
        while not self._is_over.wait(min(1.0, self.timeout / 4)):
            if time.monotonic() > self._deadline:
                self.has_fired = True
                for worker in self.workers:
                    worker.kill()
                return

    def _late(self) -> InputError:
        return InputError(
            f"the loading processes gave no batch for {self.timeout:g} s: a disk that does not "
            "answer, a stopped process, or memory that is exhausted. Lower "
            "dataloader.train.num_workers and dataloader.test.num_workers, or raise "
            "dataloader.train.timeout and dataloader.test.timeout where images take that long.",
            hint="shared_memory",
        )


def worker_options(num_workers: int, timeout: float) -> dict[str, Any]:
    """Return how a DataLoader collates, and how its loading processes behave.

    Raises:
        InputError: the timeout is not a positive number.
    """
    check_positive("timeout", timeout, "seconds")
    if num_workers == 0:
        return {"collate_fn": trivial_batch_collator}
    return {
        "num_workers": num_workers,
        "collate_fn": collate_in_shared_memory,
        "worker_init_fn": ignore_stop_signals,
    }


def collate_in_shared_memory(batch: list) -> list:
    """Return a batch whose tensors are in shared memory, through which they leave this process.

    There is an `InputError` in the batch where that memory is full. Otherwise a thread that hands
    the batch over would meet that, and the main process would wait for ever.
    """
    try:
        _Sharing(io.BytesIO()).dump(batch)
    except RuntimeError as error:  # what torch makes of it
        return [
            InputError(
                f"a batch does not fit into shared memory, /dev/shm ({one_line(error)}); lower "
                "dataloader.train.num_workers and dataloader.test.num_workers; 0 needs none.",
                hint="shared_memory",
            )
        ]
    return batch


class _Sharing(pickle.Pickler):
    """A pickler that moves each tensor it meets into shared memory, and leaves its values out."""

    def persistent_id(self, value: Any) -> int | None:
        if isinstance(value, torch.Tensor):
            value.share_memory_()
            return id(value)
        return 0 if isinstance(value, np.ndarray) else None
