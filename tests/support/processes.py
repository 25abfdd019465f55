"""Two processes of one group under gloo, for what is claimed of distributed training."""

import gc
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist
import torch.multiprocessing as mp


def run_in_two_processes(
    work: Callable[..., None], folder: Path, *args: object, seconds: float = 1800
) -> None:
    """Call ``work(rank, *args)`` in two processes and wait for both.

    They are forks of this process, so nothing is imported a second time.

    Args:
        work: what each process does; an exception in one ends both and is raised here.
        folder: where the two leave the file by which they meet; one call, one folder.
        args: further arguments of ``work``.
        seconds: that communication may last.
    """
    store = f"file://{folder / 'two_processes'}"
    gc.collect()  # groups of earlier tests end here: in a fork, without their threads, they cannot
    gc.freeze()
    try:
        mp.start_processes(
            _work_in_group, (work, store, args, seconds), nprocs=2, start_method="fork"
        )
    finally:
        gc.unfreeze()


def _work_in_group(
    rank: int, work: Callable[..., None], store: str, args: tuple, seconds: float
) -> None:
    limit = timedelta(seconds=seconds)
    dist.init_process_group("gloo", init_method=store, timeout=limit, rank=rank, world_size=2)
    work(rank, *args)
    # Together, and without the interpreter's clean-up: there torch now and then aborts the process
    # over a thread of a group that Detectron2's cache still refers to, though all is saved.
    dist.barrier()
    os._exit(0)
