"""Command-line plumbing: processes, exit status, and errors as one line."""

import argparse
import contextlib
import logging
import math
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import torch
from detectron2.engine import launch
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from omegaconf import DictConfig
from torch.multiprocessing import ProcessExitedException

from bpt_det.config.loading import Adapt, Datasets, load_config_and_data
from bpt_det.engine.precision import resolve_device
from bpt_det.engine.processes import (
    PeerError,
    Peers,
    find_cause,
    find_place,
    is_main_process,
    joined,
    peers_of_run,
    use_existing_group,
)
from bpt_det.engine.result import RESULT_NAME, end_killed_run, exit_status_of, was_interrupted
from bpt_det.engine.run import evaluate_checkpoint, train
from bpt_det.engine.run_folder import last_checkpoint, run_folder
from bpt_det.engine.stopping import RunStopped, signals_to_children
from bpt_det.utils.atomic import make_writable
from bpt_det.utils.compat import describe_environment
from bpt_det.utils.errors import InputError

from .hints import explain
from .logs import RESULT, console_log, kept_records, log_file
from .run_result import describe_result

logger = logging.getLogger(__name__)

# Within which the main process has said why all stop: its end is that of the others.
_MAIN_SECONDS = 5.0


def run_tool(
    body: Callable[[], int | None],
    args: argparse.Namespace,
    *,
    to_stdout: bool = False,
    times: bool = False,
) -> int:
    """Run a command's body and return its exit status; `bpt_det.utils.errors` has the table.

    Bad input and Ctrl-C become one line on stderr.

    Args:
        body: what the command does; returns its exit status, None for 0.
        args: the parsed command line, from which hints after an error are derived.
        to_stdout, times: how the console shows the log, see `console_log`.
    """
    try:
        with console_log(args, to_stdout=to_stdout, times=times):
            return body() or 0
    except ProcessExitedException as error:  # a process of ours that has printed its line
        return error.exit_code
    except (Exception, KeyboardInterrupt, RunStopped) as error:
        if (peers := peers_of_run()) is not None:
            _end_with_others(error, args, peers)
        if isinstance(error, RunStopped):
            if not comm.is_main_process():
                time.sleep(_MAIN_SECONDS)
            print(_describe_stop(error, args), file=sys.stderr)
        elif was_interrupted(error):
            print("interrupted", file=sys.stderr)
        elif isinstance(error, InputError):
            print(f"error: {explain(error, args)}", file=sys.stderr)
        else:
            raise
        return exit_status_of(error)


def _describe_stop(error: RunStopped, args: argparse.Namespace) -> str:
    """Return the line of a run that was stopped from outside, with how to go on."""
    hint = "resume" if hasattr(args, "resume") else "repeat"
    return f"{error.status}: {explain(InputError(str(error), hint=hint), args)}"


def _end_with_others(error: BaseException, args: argparse.Namespace, peers: Peers) -> NoReturn:
    """End one of several processes: the first that fails says why, all have its exit status."""
    cause = find_cause(error)
    assert cause is not None
    status = exit_status_of(cause)
    if isinstance(cause, PeerError):
        line = str(cause) if peers.reports else None
    elif isinstance(cause, InputError):
        line = peers.report_failure(explain(cause, args), status)
    elif isinstance(cause, RunStopped):  # most often all stop, after the same iteration
        line = None
        if peers.report_failure(str(cause), status) is not None:
            print(_describe_stop(cause, args), file=sys.stderr)
    elif was_interrupted(cause):
        line = peers.report_failure("interrupted", status)
    else:
        line = peers.report_failure(f"{type(cause).__name__}: {cause}", status)
        if line is not None:
            traceback.print_exception(cause)
    if line is not None:
        print(f"error: {line}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # the interpreter's end would wait for the others


def check_range(
    args: argparse.Namespace, option: str, least: float = 1, most: float = math.inf
) -> None:
    """Check the number or the numbers of an option; None, which was not given, is in range.

    Raises:
        InputError: a number is out of range.
    """
    given = getattr(args, option.removeprefix("--").replace("-", "_"))
    for value in given if isinstance(given, list) else [given]:
        if value is not None and not least <= value <= most:
            allowed = f"at least {least}" if most == math.inf else f"in [{least}, {most}]"
            raise InputError(f"{option} must be {allowed}, got {value}.")


def train_or_evaluate(args: argparse.Namespace, adapt: Adapt | None = None) -> None:
    """Do what a parsed command line of `build_training_parser` asks for, in as many processes."""
    with kept_records() as records:
        cfg, datasets = load_config_and_data(args.config_file, args.opts, adapt)
    peers = peers_of_run()
    if peers is not None:
        peers.timeout = cfg.train.get("peer_timeout", peers.timeout)
        if is_main_process() and not args.eval_only:
            folder = cfg.train.output_dir
            peers.before_abort = lambda cause: end_killed_run(folder, cause.exit_status, str(cause))
        with joined(peers, resolve_device(cfg.train.device)):
            _run(cfg, args, datasets, records)
        return
    if use_existing_group(os.environ):
        _run(cfg, args, datasets, records)
        return
    _check_num_processes(args, cfg.train.device)
    are_several = args.num_gpus * args.num_machines > 1
    try:
        with signals_to_children() if are_several else contextlib.nullcontext():
            launch(
                run_in_process,
                args.num_gpus,
                num_machines=args.num_machines,
                machine_rank=args.machine_rank,
                dist_url=args.dist_url,
                args=(cfg, args, datasets, records),
            )
    except ProcessExitedException as error:  # the others have been killed
        if not args.eval_only:
            end_killed_run(cfg.train.output_dir, error.exit_code)
        raise


def run_in_process(
    cfg: DictConfig,
    args: argparse.Namespace,
    datasets: Datasets,
    records: list[logging.LogRecord],
) -> None:
    run = partial(_run, cfg, args, datasets, records)
    if comm.get_world_size() == 1:
        run()
    elif status := run_tool(run, args, to_stdout=True):  # no traceback reaches the parent
        sys.exit(status)


def _check_num_processes(args: argparse.Namespace, device: str) -> None:
    num_visible = torch.cuda.device_count()
    if args.num_gpus > max(1, num_visible):
        raise InputError(
            f"--num-gpus {args.num_gpus} asks for more than the {num_visible} GPUs that are "
            "visible; leave it out to use one GPU, or the CPU where there is none."
        )
    if args.num_gpus * args.num_machines > 1 and (device == "cpu" or not num_visible):
        raise InputError(
            f"--num-gpus {args.num_gpus} --num-machines {args.num_machines} needs GPUs, but the "
            "run is on the CPU; leave both out."
        )
    if args.num_machines > 1 and args.dist_url == "auto":
        raise InputError(
            f"--num-machines {args.num_machines} needs --dist-url tcp://HOST:PORT, the address of "
            "the machine of rank 0."
        )


def _run(
    cfg: DictConfig,
    args: argparse.Namespace,
    datasets: Datasets,
    records: list[logging.LogRecord],
) -> None:
    checkpoint = cfg.train.init_checkpoint
    if args.eval_only:
        if args.resume:
            checkpoint = last_checkpoint(cfg.train.output_dir)
        if not checkpoint:
            raise InputError(
                "--eval-only needs train.init_checkpoint=PATH, or --resume for the last "
                "checkpoint of train.output_dir."
            )
        folder = getattr(args, "output", None) or _next_folder(cfg.train.output_dir)
        cfg.train.output_dir = comm.all_gather(folder)[0]
    with contextlib.ExitStack() as stack:
        if comm.is_main_process():
            make_writable(cfg.train.output_dir, "train.output_dir")
            if not args.eval_only:  # before anything is written there, its log included
                with kept_records() as more:
                    stack.enter_context(run_folder(cfg.train.output_dir, resume=args.resume))
                records = [*records, *more]
        comm.synchronize()
        stack.enter_context(log_file(cfg.train.output_dir, records))
        logger.debug("Process %d of %d", comm.get_rank(), comm.get_world_size())
        logger.debug("Environment:\n%s", describe_environment())
        logger.debug("Command line arguments: %s", args)
        seed_all_rng(cfg.train.seed + comm.get_rank())
        _train_or_evaluate(cfg, args, datasets, checkpoint)


def _next_folder(output_dir: str) -> str:
    """Return the folder of an evaluation alone; the run's log and earlier evaluations stay."""
    number = 1
    while (Path(output_dir) / _evaluation_name(number) / RESULT_NAME).exists():
        number += 1
    return str(Path(output_dir) / _evaluation_name(number))


def _evaluation_name(number: int) -> str:
    return "eval_only" if number == 1 else f"eval_only_{number}"


def _train_or_evaluate(
    cfg: DictConfig, args: argparse.Namespace, datasets: Datasets, checkpoint: str
) -> None:
    folder = cfg.train.output_dir
    if args.eval_only:
        evaluate_checkpoint(cfg, checkpoint, output_dir=folder, datasets=datasets)
    else:
        torch.backends.cudnn.benchmark = bool(cfg.train.get("cudnn_benchmark"))
        train(cfg, resume=args.resume, datasets=datasets)
    if comm.is_main_process():
        logger.log(RESULT, "%s", describe_result(folder, cfg))


def run_training_tool(args: argparse.Namespace, adapt: Adapt | None = None) -> int:
    """Train or evaluate in as many processes as asked for; returns the exit status.

    Args:
        args: the command line, parsed with `build_training_parser`.
        adapt: see `load_config_and_data`.
    """
    status = run_tool(lambda: _join_peers(args), args)
    if status:
        return status
    try:
        return run_tool(lambda: train_or_evaluate(args, adapt), args, to_stdout=True)
    finally:
        if (peers := peers_of_run()) is not None:
            peers.leave()


def _join_peers(args: argparse.Namespace) -> None:
    """Meet the processes that torchrun or srun has started, if they have not met already."""
    has_group = comm.get_world_size() > 1
    place = None if has_group else find_place(os.environ)
    if place is None and not has_group:
        return
    if args.num_gpus > 1 or args.num_machines > 1:
        raise InputError(
            "several processes have been started, which take a GPU each; leave out --num-gpus and "
            "--num-machines."
        )
    if place is None:
        return
    args.resume = args.resume or (place.attempt > 0 and not args.eval_only)
    Peers(place)
