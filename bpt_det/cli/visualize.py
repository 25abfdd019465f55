"""Draw ground truth beside the predictions of a trained detector, as pictures.

Draws images of the config's validation data (dataloader.test), or of any folder with --input, which
has no ground truth. One PNG per image and all of them on contact_sheet.png go to --output. With
--split train it draws training images and what the mapper makes of each, and takes no checkpoint.

The images are spread evenly over the data: sorted by image_id (files: by name) they are cut into
--num-images stretches of the same length, and the middle image of each is drawn. So the same call
draws the same images, for every model.

Without --checkpoint it is train.init_checkpoint=FILE of the command line, else the last one of the
run whose config.yaml is given or that lies in train.output_dir, else the one that the config starts
from, or that comes with the package for a config of shapes. Predictions have the class
names that it holds.
Settings of the config are changed as key=value:

    bpt-det visualize --config-file shapes/cascade_bpt_s \\
        --output output/pictures train.output_dir=output/shapes/cascade_bpt_s
    bpt-det visualize --config-file coco/cascade_bpt_s \\
        --checkpoint model_final.pth --input my_photos --output output/my_photos
    bpt-det visualize --config-file shapes/cascade_bpt_s --split train --output output/samples
"""

import argparse
from collections.abc import Sequence

from bpt_det.inference.defaults import DEFAULT_SCORE_THRESHOLD

from .arguments import add_drawing_options, add_log_options, build_tool_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("visualize", __doc__)
    add = parser.add_argument
    add("--config-file", required=True, help="LazyConfig of the detector")
    add("--checkpoint", default="", help="checkpoint of a training run (default: see above)")
    add("--output", required=True, help="folder for the pictures")
    add = parser.add_argument_group("what is drawn").add_argument
    add("--input", help="folder of images to draw instead of the validation data")
    add(
        "--split",
        choices=("val", "train"),
        default="val",
        help="validation data with predictions, or training samples as augmented "
        "(default: %(default)s)",
    )
    add("--num-images", type=int, default=16, help="number of images (default: 16)")
    add(
        "--score-threshold",
        type=float,
        default=DEFAULT_SCORE_THRESHOLD,
        help="predictions of a higher score are drawn, in [0, 1] (default: %(default)s)",
    )
    add_drawing_options(parser)
    add_log_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, draw the pictures, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    from .actions.visualize import run

    return run(args)
