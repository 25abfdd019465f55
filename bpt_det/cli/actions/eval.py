"""Evaluation of a trained model: what `bpt-det eval` does."""

import argparse
from pathlib import Path

from bpt_det.config.overrides import as_override
from bpt_det.engine.result import RESULT_NAME
from bpt_det.engine.run_folder import find_trace
from bpt_det.utils.errors import InputError

from ..launch import run_tool, train_or_evaluate
from ..tasks import use_data


def evaluate(args: argparse.Namespace) -> None:
    """Do what a parsed command line of `build_parser` asks for."""
    trace = None if args.output is None else find_trace(args.output)
    if trace is not None:
        raise InputError(
            f"--output '{args.output}' holds a run ({trace}), whose result would be replaced; "
            "choose another folder, or leave --output out."
        )
    if args.output is not None and (Path(args.output) / RESULT_NAME).is_file():
        raise InputError(
            f"--output '{args.output}' holds an earlier evaluation ({RESULT_NAME}), which would be "
            "replaced; choose another folder, or leave --output out."
        )
    args.opts = [*args.opts, as_override("train.init_checkpoint", args.checkpoint)]
    train_or_evaluate(args, use_data)


def run(args: argparse.Namespace) -> int:
    """Evaluate, and return the exit status."""
    return run_tool(lambda: evaluate(args), args, to_stdout=True)
