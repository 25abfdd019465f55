"""Write a trained model for others and for other programs: task files and ONNX.

--task writes task.safetensors, which holds what was trained (prompts, neck, heads) with its card,
but no frozen ViT, and README.md, the card to read. --onnx writes detector.onnx, the whole detector
for one image of a fixed size; --onnx-pyramid writes pyramid.onnx, backbone and pyramid for any
number and size of images. An ONNX file is compared with the model on noise, or a whole detector on
--images, and is removed if it differs. ONNX takes `pip install bpt_det[onnx]`.

Without --checkpoint it is train.init_checkpoint, else the last one of train.output_dir, else the
one that comes with the package for a config of shapes:

    bpt-det export --config-file run/config.yaml --checkpoint run/model_best.pth \\
        --output output/task --task
    bpt-det export --config-file shapes/cascade_bpt_s --output output/onnx --onnx --onnx-pyramid
"""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from bpt_det import Predictor
from bpt_det.config import load_config
from bpt_det.data.images import folder_records
from bpt_det.detection import use_detection_data
from bpt_det.inference.hub import push_to_hub
from bpt_det.inference.onnx_detector import compare_with_onnx
from bpt_det.inference.onnx_export import check_onnx_packages, export_detector, export_pyramid
from bpt_det.inference.runs import default_checkpoint
from bpt_det.inference.task_export import export_task
from bpt_det.utils.atomic import make_writable
from bpt_det.utils.errors import InputError

from .launch import build_tool_parser, run_tool
from .logs import RESULT, add_log_options
from .tasks import is_detector

DETECTOR_NAME, PYRAMID_NAME = "detector.onnx", "pyramid.onnx"
_CHECK_THRESHOLD = 0.05
_KIND_OF = {"compact": "task", "backbone_license": "task", "side": "onnx", "images": "onnx"}

logger = logging.getLogger(__name__)


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


def export(args: argparse.Namespace) -> None:
    """Do what a parsed command line of `build_parser` asks for."""
    if not (args.task or args.onnx or args.onnx_pyramid):
        raise InputError("nothing to export: add --task, --onnx or --onnx-pyramid.")
    if args.push_to_hub and not args.task:
        raise InputError("--push-to-hub uploads a task file; add --task.")
    for option, kind in _KIND_OF.items():
        is_given = vars(args)[option] not in (None, False)
        if is_given and not vars(args)[kind]:
            flag = f"--{option.replace('_', '-')}"
            raise InputError(f"{flag} is an option of --{kind}; add that, or leave {flag} out.")
    make_writable(args.output, "--output")
    cfg = load_config(args.config_file, args.opts, _use_data)
    checkpoint = args.checkpoint or default_checkpoint(cfg, args.config_file)
    if args.onnx or args.onnx_pyramid:
        _export_onnx(args, cfg, checkpoint)
    if args.task:
        path = export_task(
            cfg,
            checkpoint,
            args.output,
            compact=args.compact,
            backbone_license=args.backbone_license,
        )
        logger.log(RESULT, "%s, %.2f MB; %s", path, path.stat().st_size / 1e6, "its card is beside")
    if args.push_to_hub:
        logger.log(RESULT, "%s", push_to_hub(args.output, args.push_to_hub))


def _use_data(cfg: DictConfig, overrides: Sequence[str]) -> None:
    """Fit a detector's config to its data; a classifier's need not be there."""
    if is_detector(cfg):
        use_detection_data(cfg, overrides)


def _export_onnx(args: argparse.Namespace, cfg: DictConfig, checkpoint: str) -> None:
    check_onnx_packages()
    if not is_detector(cfg):
        raise InputError("ONNX files are written of detectors, not of classifiers.")
    predictor = Predictor(cfg, checkpoint, device="cpu", score_threshold=_CHECK_THRESHOLD)
    if args.onnx:
        path = Path(args.output) / DETECTOR_NAME
        side = export_detector(predictor, path, args.side)
        try:
            compared = compare_with_onnx(predictor, path, _images(args.images, side))
        except BaseException:  # whatever it is, the file has not been checked
            path.unlink()
            raise
        logger.log(
            RESULT,
            "%s, %.1f MB, for images up to %d x %d; %d objects compared with the model: boxes "
            "within %.1g pixels, scores within %.1g, masks within %.1g of their pixels",
            path,
            path.stat().st_size / 1e6,
            side,
            side,
            *compared,
        )
        if not compared.num_objects:
            logger.warning("no object was found to compare; name photographs with --images")
    if args.onnx_pyramid:
        path = Path(args.output) / PYRAMID_NAME
        difference = export_pyramid(predictor, path)
        text = "%s, %.1f MB; features within %.1g of the model's"
        logger.log(RESULT, text, path, path.stat().st_size / 1e6, difference)


def _images(folder: str | None, side: int) -> list:
    if folder is None:
        return [np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)]
    return [record["file_name"] for record in folder_records(folder, option="--images")]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, export, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    return run_tool(lambda: export(args), args)
