"""Commands in SLURM's queue: what `bpt-det submit` does."""

import argparse
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from bpt_det.utils.atomic import make_writable
from bpt_det.utils.errors import EXIT_STATUS, InputError
from bpt_det.utils.extras import require_extra

from ..commands import COMMANDS
from ..launch import check_range, run_tool

_RESUMED = ("train", "train-cls", "pretrain")
# What SLURM and submitit send, by what the command hears.
_FORWARDED = {signal.SIGUSR2: signal.SIGUSR1, signal.SIGTERM: signal.SIGTERM}


class Job:
    """A command as one task of a submitted job; an instance is pickled into the job's folder.

    Args:
        words: the command and its arguments.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)

    def __call__(self) -> int:
        """Run the command in this task; put the job into the queue again if it was preempted.

        Returns:
            The exit status of the command.
        """
        import submitit

        environment = submitit.JobEnvironment()
        if environment.num_tasks > 1:
            place = submitit.helpers.TorchDistributedEnvironment()
            place.export(set_cuda_visible_devices=False, overwrite=True)
        child = subprocess.Popen([sys.executable, "-m", "bpt_det.cli", *self.words])
        for heard, sent in _FORWARDED.items():
            signal.signal(heard, lambda *_, sent=sent: child.send_signal(sent))
        status = child.wait()
        if status == EXIT_STATUS["preempted"] and environment.global_rank == 0:
            environment._requeue(0)
        return status


def submit(args: argparse.Namespace) -> int:
    """Do what a parsed command line of `build_parser` asks for; returns the exit status."""
    for option in ("--nodes", "--cpus", "--processes"):
        check_range(args, option)
    check_range(args, "--gpus-per-node", 0)
    check_range(args, "--hours", 1 / 60, 24 * 365)
    words = command_of(args.words)
    require_extra("submitit", "submit", "jobs")
    make_writable(args.folder, "--folder")
    job = _executor(args).submit(Job(words))
    print(f"job {job.job_id}: bpt-det {' '.join(words)}\nlogs: {job.paths.stdout}")
    if not args.wait:
        return 0
    job.wait()
    statuses = [task.exception() or task.result() for task in _tasks(job)]
    failed = [status for status in statuses if status != 0]
    return next((status for status in failed if isinstance(status, int)), 1 if failed else 0)


def command_of(words: Sequence[str]) -> list[str]:
    """Return the command to run; a training goes on from its last checkpoint, if it has one.

    Raises:
        InputError: it is missing, or none of bpt-det's.
    """
    command = list(words[1:] if words[:1] == ["--"] else words)
    if not command or command[0] not in COMMANDS or command[0] == "submit":
        named = f"'{command[0]}'" if command else "nothing"
        raise InputError(
            f"{named} is no command to submit; write one behind --, such as -- train --config-file "
            "coco/cascade_bpt_s."
        )
    if command[0] in _RESUMED and not {"--resume", "--eval-only"} & set(command):
        command.insert(1, "--resume")
    return command


def _executor(args: argparse.Namespace) -> Any:
    """Return submitit's executor, with the resources that the options ask for."""
    import submitit

    if args.cluster == "slurm" and submitit.SlurmExecutor.affinity() < 0:
        raise InputError("there is no SLURM here (srun is missing); give --cluster local.")
    if args.cluster == "local" and args.nodes > 1:
        raise InputError(f"--cluster local is one machine, but --nodes is {args.nodes}.")
    executor = submitit.AutoExecutor(folder=args.folder / "%j", cluster=args.cluster)
    executor.update_parameters(
        name=args.name,
        nodes=args.nodes,
        gpus_per_node=args.gpus_per_node,
        tasks_per_node=args.processes or max(1, args.gpus_per_node),
        timeout_min=round(60 * args.hours),
        cpus_per_task=args.cpus,
    )
    if args.cluster == "slurm":
        extra = dict(word.partition("=")[::2] for word in args.slurm)
        executor.update_parameters(
            slurm_signal_delay_s=120,
            slurm_additional_parameters=extra,
            **({"slurm_partition": args.partition} if args.partition else {}),
        )
    return executor


def _tasks(job: Any) -> list[Any]:
    return [job.task(i) for i in range(job.num_tasks)]


def run(args: argparse.Namespace) -> int:
    """Submit, and return the exit status."""
    return run_tool(lambda: submit(args), args)
