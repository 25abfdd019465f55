"""Style of drawn annotations from the options of a command line."""

import argparse

from bpt_det.visualization.style import DrawStyle

from ..launch import check_range


def drawing_style(args: argparse.Namespace) -> DrawStyle:
    """Return the style that a parsed command line asks for.

    Raises:
        InputError: an option is out of range.
    """
    check_range(args, "--font-size", least=1, most=500)
    check_range(args, "--line-width", least=0.1, most=500)
    check_range(args, "--opacity", least=0, most=1)
    return DrawStyle(args.boxes, args.labels, args.font_size, args.line_width, args.opacity)
