"""Evaluate a trained detector or classifier; the config decides which of them it is.

The same as --eval-only of the command that trains it. result.json, report.html and log.txt go to
--output, or else to eval_only/ in train.output_dir, then eval_only_2/ and so on: an earlier
evaluation is never replaced. Settings of the config are changed as key=value:

    bpt-det eval --config-file output/mine/config.yaml --checkpoint output/mine/model_best.pth
    bpt-det eval --config-file coco/cascade_bpt_s --checkpoint model_final.pth \\
        --output output/eval data.val=/data/mine/val.json:/data/mine/images
    bpt-det eval --config-file fgvc/cub --checkpoint model_best.pth method=bpt_s \\
        dataloader.root=/data
"""

import argparse
from collections.abc import Sequence

from .arguments import add_log_options, build_tool_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("eval", __doc__)
    add = parser.add_argument
    add("--config-file", required=True, help="config, or the config.yaml of a run")
    add("--checkpoint", required=True, help="checkpoint of a training run")
    add("--output", help="folder for the results (default: eval_only/ in train.output_dir)")
    add("--num-gpus", type=int, default=1, help="GPUs that evaluate together (default: 1)")
    add_log_options(parser)
    parser.set_defaults(eval_only=True, resume=False)
    parser.set_defaults(num_machines=1, machine_rank=0, dist_url="auto")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, evaluate, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    from .actions.eval import run

    return run(args)
