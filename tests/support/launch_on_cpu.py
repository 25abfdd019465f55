"""`bpt-det train --num-gpus N` with processes on the CPU, for which Detectron2 has no launch."""

import sys
import tempfile

import torch.distributed as dist
import torch.multiprocessing as mp

from bpt_det.cli import launch
from bpt_det.cli.train import main


def launch_on_cpu(body, num_processes, *, args, **_):
    """Call ``body(*args)`` in processes of one group, and wait for them as Detectron2 does."""
    with tempfile.TemporaryDirectory() as folder:
        work = (num_processes, f"file://{folder}/store", body, args)
        mp.start_processes(_work, work, nprocs=num_processes, start_method="fork")


def _work(rank, num_processes, store, body, args):
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=num_processes)
    body(*args)


if __name__ == "__main__":
    launch.launch = launch_on_cpu
    launch._check_num_processes = lambda *_: None
    sys.exit(main())
