"""Options of commands that draw annotations: boxes, labels, font, lines, opacity."""

import argparse

from bpt_det.visualization.draw import LABELS, DrawStyle

from .launch import check_range


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


def drawing_style(args: argparse.Namespace) -> DrawStyle:
    """Return the style that a parsed command line asks for.

    Raises:
        InputError: an option is out of range.
    """
    check_range(args, "--font-size", least=1, most=500)
    check_range(args, "--line-width", least=0.1, most=500)
    check_range(args, "--opacity", least=0, most=1)
    return DrawStyle(args.boxes, args.labels, args.font_size, args.line_width, args.opacity)
