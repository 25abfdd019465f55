"""Parsers and options that commands share; nothing here imports torch or Detectron2."""

import argparse
import time
from pathlib import Path
from typing import Any

from bpt_det.visualization.style import LABELS

from .commands import build_plain_parser

LOG_NAME = "log.txt"


def build_tool_parser(
    command: str, description: str, *, takes_settings: bool = True
) -> argparse.ArgumentParser:
    """Return the parser of a command, see `build_plain_parser`.

    Args:
        takes_settings: whether its last arguments are settings of a config, ``opts``.
    """
    parser = build_plain_parser(command, description)
    if takes_settings:
        parser.add_argument(
            "opts", nargs="*", metavar="key=value", help="settings of the config to change"
        )
        parser.add_argument(
            "--trust",
            action=_Trust,
            metavar="PACKAGE",
            default=argparse.SUPPRESS,
            help="package of yours whose classes a config.yaml may name; may be repeated",
        )
    return parser


def build_training_parser(command: str, description: str) -> argparse.ArgumentParser:
    """Return the parser of a training command; for the arguments see `build_tool_parser`.

    The options are those of Detectron2's trainer. `parse_intermixed_args` takes them after settings
    too.
    """
    parser = build_tool_parser(command, description)
    add = parser.add_argument
    add(
        "--config-file",
        default="",
        metavar="FILE",
        help="LazyConfig file, a run's config.yaml, or the name of a config of the package",
    )
    add("--resume", action="store_true", help="continue from the last checkpoint of the run")
    add(
        "--eval-only",
        action="store_true",
        help="evaluate train.init_checkpoint, or the last checkpoint with --resume",
    )
    add = parser.add_argument_group("GPUs and machines").add_argument
    add("--num-gpus", type=int, default=1, help="GPUs of each machine (default: 1)")
    add("--num-machines", type=int, default=1, help="machines that train together (default: 1)")
    add("--machine-rank", type=int, default=0, help="this machine, counted from 0 (default: 0)")
    add(
        "--dist-url",
        default="auto",
        help="where the processes meet; of several machines tcp://HOST:PORT",
    )
    add_log_options(parser)
    return parser


class _Trust(argparse.Action):
    """Trusts the package that an option names."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        from bpt_det.config.yaml_files import trust_package

        trust_package(values)


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--quiet`` and ``--verbose`` to a parser."""
    options = parser.add_argument_group("log").add_mutually_exclusive_group()
    add = options.add_argument
    add("--quiet", action="store_true", help="show warnings, errors and the final result only")
    add("--verbose", action="store_true", help=f"show all that {LOG_NAME} gets")


def build_demo_parser(command: str, description: str, folder: str) -> argparse.ArgumentParser:
    """Return the parser of a demo; by default its results go to a new folder output/FOLDER-TIME."""
    parser = build_tool_parser(command, description)
    default = Path(f"output/{folder}-{time.strftime('%Y%m%d-%H%M%S')}")
    parser.add_argument(
        "--output",
        type=Path,
        default=default,
        help="folder for the results (default: a new one below output)",
    )
    add_log_options(parser)
    return parser


def add_drawing_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser; `drawing_style` reads them."""
    add = parser.add_argument_group("drawing").add_argument
    add("--boxes", action="store_true", help="draw the boxes of objects with masks too")
    add(
        "--labels",
        choices=LABELS,
        default="score",
        help="class and score, class alone, or none (default: %(default)s)",
    )
    add("--font-size", type=float, metavar="PIXELS", help="of labels (default: by image size)")
    add("--line-width", type=float, metavar="PIXELS", help="of outlines (default: by image size)")
    add(
        "--opacity",
        type=float,
        default=0.5,
        help="of the color of masks, in [0, 1]; 0 draws outlines alone (default: %(default)s)",
    )
