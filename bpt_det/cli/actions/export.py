"""Task files and ONNX files: what `bpt-det export` does."""

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

from ..export import DETECTOR_NAME, PYRAMID_NAME
from ..launch import run_tool
from ..logs import RESULT
from ..tasks import is_detector

_CHECK_THRESHOLD = 0.05
_KIND_OF = {"compact": "task", "backbone_license": "task", "side": "onnx", "images": "onnx"}

logger = logging.getLogger(__name__)


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
    checkpoint = args.checkpoint or default_checkpoint(cfg, args.config_file, args.opts)
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
        masks = ""
        if getattr(predictor.model.roi_heads, "mask_on", False):
            masks = f", masks within {compared.mask_pixels:.1g} of their pixels"
        logger.log(
            RESULT,
            "%s, %.1f MB, for images up to %d x %d; %d objects compared with the model: boxes "
            "within %.1g pixels, scores within %.1g%s",
            path,
            path.stat().st_size / 1e6,
            side,
            side,
            compared.num_objects,
            compared.pixels,
            compared.score,
            masks,
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


def run(args: argparse.Namespace) -> int:
    """Export, and return the exit status."""
    return run_tool(lambda: export(args), args)
