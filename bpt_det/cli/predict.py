"""Detect objects in images, folders, videos or streams: annotated pictures and a COCO-format JSON.

--output gets predictions.json and one picture per image; for a video (.mp4 .mov .avi .mkv .webm and
others) an annotated .mp4 of the same size and speed. Pictures of images under 512 pixels are
magnified, those of images over 2048 shrunk. Folders give their images, not their videos; what is
left out is counted. --input takes the index of a camera and rtsp:// or http:// addresses too; those
without an end need --max-frames.

predictions.json is complete in itself: images (id, file_name as given, width, height, of a video
frame_number counted from 0 and its time in seconds), categories (id, name) and annotations (bbox
XYWH in pixels, score, RLE segmentation, area). category_id is that of the dataset that was trained
on; of a checkpoint that does not hold them it is the class index + 1.

Without --checkpoint it is train.init_checkpoint=FILE of the command line, else the last one of the
run whose config.yaml is given or that lies in train.output_dir, else the one that the config starts
from, or that comes with the package for a config of shapes.

A file that cannot be read is named, the others go on, and the exit status is 1. To measure AP from
the file, let low scores in with --score-threshold 0.05 --no-pictures. Settings of the config are
changed as key=value:

    bpt-det predict --config-file shapes/cascade_bpt_s --input datasets/shapes/val \\
        --output output/predictions
    bpt-det predict --config-file run/config.yaml --checkpoint run/model_best.pth \\
        --input photos clip.mp4 --every 5 --output output/found train.device=cpu
    bpt-det predict --config-file run/config.yaml --input aerial.tif --tile 1024 \\
        --output output/aerial
    bpt-det predict --config-file run/config.yaml --input 0 --max-frames 250 --output output/camera
"""

import argparse
from collections.abc import Sequence

from bpt_det.inference.defaults import DEFAULT_OVERLAP, DEFAULT_SCORE_THRESHOLD

from .arguments import add_drawing_options, add_log_options, build_tool_parser

JSON_NAME = "predictions.json"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("predict", __doc__)
    add = parser.add_argument
    add("--config-file", required=True, help="LazyConfig of the detector, or a run's config.yaml")
    add("--checkpoint", help="checkpoint of a training run (default: see above)")
    add(
        "--input",
        required=True,
        nargs="+",
        metavar="PATH",
        help="images, folders, videos, camera indexes, addresses of streams",
    )
    add("--output", required=True, help="folder for the results")
    add = parser.add_argument_group("input").add_argument
    add("--recursive", action="store_true", help="search the subfolders of folders too")
    add("--every", type=int, default=1, metavar="N", help="take each N-th frame of a video")
    add("--max-frames", type=int, metavar="N", help="take no more than N frames of a video")
    add("--batch-size", type=int, default=4, help="images or tiles per batch (default: 4)")
    add("--tile", type=int, metavar="PIXELS", help="look at images in square tiles of this side")
    add(
        "--overlap",
        type=float,
        help="share of its side that a tile has in common with the next "
        f"(default: {DEFAULT_OVERLAP})",
    )
    add = parser.add_argument_group("speed").add_argument
    add(
        "--precision",
        default="float32",
        help="of backbone and box heads: float32, bfloat16, float16, or auto, as training "
        "(default: float32)",
    )
    text = "regions of an image that the heads look at (default: those of the config, often 1000)"
    add("--proposals", type=int, metavar="N", help=text)
    add("--compile", action="store_true", help="compile the backbone: pays for many images")
    add = parser.add_argument_group("output").add_argument
    add("--no-pictures", action="store_true", help=f"write {JSON_NAME} only")
    add(
        "--format",
        choices=("png", "jpg"),
        default="png",
        help="file format of the pictures (default: png)",
    )
    add(
        "--score-threshold",
        type=float,
        default=DEFAULT_SCORE_THRESHOLD,
        help="predictions of a higher score are kept, in [0, 1] (default: %(default)s)",
    )
    add_drawing_options(parser)
    add_log_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, predict, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    from .actions.predict import run

    return run(args)
