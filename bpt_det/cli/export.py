"""Write a trained model for others and for other programs: task files and ONNX.

--task writes task.safetensors, which holds what was trained (prompts, neck, heads) with its card,
but no frozen ViT, and README.md, the card to read. --onnx writes detector.onnx, the whole detector
for one image of a fixed size; --onnx-pyramid writes pyramid.onnx, backbone and pyramid for any
number and size of images. An ONNX file is compared with the model on noise, or a whole detector on
--images, and is removed if it differs. ONNX takes `pip install bpt_det[onnx]`.

Without --checkpoint it is train.init_checkpoint=FILE of the command line, else the last one of the
run whose config.yaml is given or that lies in train.output_dir, else the one that the config starts
from, or that comes with the package for a config of shapes:

    bpt-det export --config-file run/config.yaml --checkpoint run/model_best.pth \\
        --output output/task --task
    bpt-det export --config-file shapes/cascade_bpt_s --output output/onnx --onnx --onnx-pyramid
"""

import argparse
from collections.abc import Sequence

from .arguments import add_log_options, build_tool_parser

DETECTOR_NAME, PYRAMID_NAME = "detector.onnx", "pyramid.onnx"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("export", __doc__)
    add = parser.add_argument
    add("--config-file", required=True, help="config, or the config.yaml of a run")
    add("--checkpoint", help="checkpoint of a training run (default: see above)")
    add("--output", required=True, help="folder for the files")
    add = parser.add_argument_group("task file").add_argument
    add("--task", action="store_true", help="write task.safetensors and README.md")
    add("--compact", action="store_true", help="in float16, large matrices in 8 bits")
    add("--backbone-license", metavar="SPDX", help="of the ViT's weights (default: if known)")
    add("--push-to-hub", metavar="OWNER/NAME", help="upload both to a model hub, private")
    add = parser.add_argument_group("ONNX").add_argument
    add("--onnx", action="store_true", help=f"write {DETECTOR_NAME}")
    add("--onnx-pyramid", action="store_true", help=f"write {PYRAMID_NAME}")
    add("--side", type=int, metavar="PIXELS", help="of the square image (default: as trained)")
    add("--images", metavar="FOLDER", help="images on which the file is compared with the model")
    add_log_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, export, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    from .actions.export import run

    return run(args)
