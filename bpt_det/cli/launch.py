"""From a command line to a run: arguments, output folder, processes, and errors as one line."""

import argparse
import contextlib
import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from logging.handlers import BufferingHandler
from pathlib import Path

import torch
from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from omegaconf import DictConfig, OmegaConf
from torch.multiprocessing import ProcessExitedException

from bpt_det.engine.config import Adapt, as_override, load_config
from bpt_det.engine.output_dir import prepare_output_dir
from bpt_det.engine.run import CONFIG_NAME, evaluate_checkpoint, last_checkpoint, train
from bpt_det.utils.errors import InputError
from bpt_det.vit import MissingStatisticsError

EXIT_INPUT_ERROR = 2
EXIT_INTERRUPTED = 130  # as shells count the signal of Ctrl-C


def build_parser(description: str) -> argparse.ArgumentParser:
    """Return Detectron2's argument parser; the description ends with an example command.

    Its `parse_intermixed_args` takes options after settings too.
    """
    parser = default_argument_parser(epilog=" ")
    # Detectron2 takes all that follows the first setting for settings, ``--eval-only`` too.
    opts = next(action for action in parser._actions if action.dest == "opts")
    opts.nargs, opts.metavar, opts.help = "*", "key=value", "settings of the config"
    parser.description = description
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    return parser


def build_tool_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of a tool that takes settings of a config as its last arguments, ``opts``.

    Args:
        description: of the tool, ending with an example command; its lines are kept as they are.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("opts", nargs="*", metavar="key=value", help="settings of the config")
    return parser


def run_tool(main: Callable[[], int | None]) -> int:
    """Run a tool's body; bad input (status 2) and Ctrl-C (130) become one line on stderr."""
    for name in ("detectron2.engine.train_loop", "detectron2.engine.hooks"):
        logging.getLogger(name).addFilter(_is_no_input_error)
    try:
        return main() or 0
    except InputError as error:
        print(f"error: {_last_message(error)}", file=sys.stderr)
    except ProcessExitedException as error:  # a process of ours that has printed its line
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_INPUT_ERROR


def train_or_evaluate(args: argparse.Namespace, adapt: Adapt | None = None) -> None:
    """Do what a parsed command line of `build_parser` asks for, in as many processes."""
    with _kept_log() as records:
        cfg = load_config(args.config_file, args.opts, adapt)
    _refuse_impossible_processes(args, cfg.train.device)
    launch(
        _run_in_process,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(cfg, args, records),
    )


@contextlib.contextmanager
def _kept_log() -> Iterator[list[logging.LogRecord]]:
    """Keep what is logged before the output folder and with it the log file are known."""
    logger = logging.getLogger("bpt_det")
    kept = BufferingHandler(capacity=sys.maxsize)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(kept)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # else warnings would be printed twice
    try:
        yield kept.buffer
    except BaseException:  # there will be no log, so warnings are said now
        for record in kept.buffer:
            if record.levelno >= logging.WARNING:
                logging.lastResort.handle(record)
        raise
    finally:
        logger.removeHandler(kept)
        logger.setLevel(level)
        logger.propagate = propagate


def _run_in_process(
    cfg: DictConfig, args: argparse.Namespace, records: list[logging.LogRecord]
) -> None:
    if comm.get_world_size() == 1:
        _run(cfg, args, records)
    else:  # an exception would reach the parent as a traceback
        status = run_tool(lambda: _run(cfg, args, records))
        if status:
            sys.exit(status)


def _refuse_impossible_processes(args: argparse.Namespace, device: str) -> None:
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


def _run(cfg: DictConfig, args: argparse.Namespace, records: list[logging.LogRecord]) -> None:
    checkpoint = cfg.train.init_checkpoint
    if args.eval_only:
        if args.resume:
            checkpoint = last_checkpoint(cfg.train.output_dir)
        if not checkpoint:
            raise InputError(
                "--eval-only needs train.init_checkpoint=PATH, or --resume for the last "
                "checkpoint of train.output_dir."
            )
        cfg.train.output_dir = str(Path(cfg.train.output_dir) / "eval_only")  # keeps the run's log
    if comm.is_main_process():
        prepare_output_dir(cfg.train.output_dir, may_hold_run=args.resume or args.eval_only)
    comm.synchronize()
    config_file = Path(cfg.train.output_dir) / CONFIG_NAME
    is_kept = args.resume and comm.is_main_process() and config_file.is_file()
    earlier_config = config_file.read_bytes() if is_kept else None
    default_setup(cfg, args)
    if earlier_config is not None:  # `train` writes the new one when it has accepted it
        config_file.write_bytes(earlier_config)
    setup_logger(cfg.train.output_dir, distributed_rank=comm.get_rank(), name="bpt_det")
    for record in records:
        logging.getLogger(record.name).handle(record)
    if args.eval_only:
        evaluate_checkpoint(cfg, checkpoint)
        return
    try:
        train(cfg, resume=args.resume)
    except MissingStatisticsError as error:
        raise InputError(f"{error}; {_how_to_collect(cfg, args)}") from error


def _how_to_collect(cfg: DictConfig, args: argparse.Namespace) -> str:
    """Return the next step where token statistics are missing, which ends with the command."""
    command = ["tools/collect_statistics.py", "--config-file", args.config_file, *args.opts]
    key = "train.prompt_statistics"
    path = OmegaConf.select(cfg, key)
    before = ""
    if path is None:
        name = f"statistics/{Path(args.config_file).stem}.safetensors"
        command.append(as_override(key, name))
        before = f"add {shlex.quote(command[-1])} to this command too, and "
    elif Path(path).exists():  # that file is never written over
        before = f"delete that file or name another with {key}=FILE, and "
    return f"{before}collect them: python {shlex.join(command)}"


def _is_no_input_error(record: logging.LogRecord) -> bool:
    """Detectron2 logs every exception of a training with its traceback; bad input needs none."""
    return not (record.exc_info and isinstance(record.exc_info[1], InputError))


def _last_message(error: InputError) -> str:
    """Return an error's text; torch wraps that of a loading process into its traceback."""
    text = str(error).strip()
    if not text.startswith("Caught "):
        return text
    return text.splitlines()[-1].partition(": ")[2]


def run_training_tool(
    description: str, argv: Sequence[str] | None, adapt: Adapt | None = None
) -> int:
    """Parse the command line of a training tool and run it; returns the exit status.

    Args:
        description: of the tool, ending with an example.
        argv: the command line; None takes that of the process.
        adapt: see `load_config`.
    """
    args = build_parser(description).parse_intermixed_args(argv)
    return run_tool(lambda: train_or_evaluate(args, adapt))
