"""Pictures of ground truth and predictions: what `bpt-det visualize` does."""

import argparse
import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import bpt_det.utils.opencv  # noqa: F401  before detectron2 imports cv2: explains a missing libGL

# isort: split
import numpy as np
from detectron2.config import instantiate
from detectron2.data import DatasetMapper, Metadata, MetadataCatalog
from detectron2.structures import Instances
from detectron2.utils.env import seed_all_rng

from bpt_det.config.loading import load_config
from bpt_det.data.images import folder_records, spread_evenly
from bpt_det.detection import use_detection_data
from bpt_det.detection.mapper import read_record_image
from bpt_det.inference.predictor import Predictor
from bpt_det.inference.runs import default_checkpoint
from bpt_det.utils.errors import InputError
from bpt_det.utils.progress import progress_bar
from bpt_det.visualization.annotations import ground_truth_annotations
from bpt_det.visualization.draw import MAX_PANEL_SIDE, DrawStyle, draw_annotations
from bpt_det.visualization.picture_files import picture_names, prepare_output, save_picture
from bpt_det.visualization.samples import draw_sample
from bpt_det.visualization.sheet import contact_sheet, contact_sheet_tile, shrink, side_by_side

from ..launch import check_range, run_tool
from ..logs import RESULT
from .drawing import drawing_style

SHEET_NAME = "contact_sheet.png"

logger = logging.getLogger(__name__)


def visualize(args: argparse.Namespace) -> None:
    """Do what a parsed command line of `build_parser` asks for."""
    check_range(args, "--num-images")
    check_range(args, "--score-threshold", least=0, most=1)
    style = drawing_style(args)
    if args.split == "train" and (args.input or args.checkpoint):
        other = "--input" if args.input else "--checkpoint"
        raise InputError(f"--split train draws training data alone; leave {other} out.")
    cfg = load_config(args.config_file, args.opts, use_detection_data)
    loader = cfg.dataloader.train if args.split == "train" else cfg.dataloader.test
    if args.input:
        records = folder_records(args.input, option="--input")
    else:
        records = instantiate(loader.dataset)
    chosen = spread_evenly(records, args.num_images)
    metadata = MetadataCatalog.get(loader.dataset.names)
    files = [record["file_name"] for record in chosen]
    names = picture_names(files, [".png"] * len(files), reserved=[Path(SHEET_NAME).stem])
    output = Path(args.output)
    prepare_output(output, [SHEET_NAME, *names], option="--output")
    if args.split == "train":
        mapper = instantiate(loader.mapper)
        draw = partial(_sample_panels, mapper=mapper, metadata=metadata, style=style)
        seed_all_rng(cfg.train.seed)
    else:
        checkpoint = args.checkpoint or default_checkpoint(cfg, args.config_file, args.opts)
        predictor = Predictor(cfg, checkpoint, score_threshold=args.score_threshold)
        draw = partial(_titled_panels, predictor=predictor, metadata=metadata, style=style)
    tiles = []
    for record, name in zip(progress_bar(iterable=chosen, desc="drawing"), names, strict=True):
        panels, titles = zip(*draw(record), strict=True)
        picture = side_by_side(panels, titles)
        save_picture(picture, output / name)
        tiles.append(contact_sheet_tile(picture))
    save_picture(contact_sheet(tiles, [Path(f).name for f in files]), output / SHEET_NAME)
    text = "%d of %d images drawn, see %s"
    logger.log(RESULT, text, len(chosen), len(records), output / SHEET_NAME)


def _sample_panels(
    record: dict, mapper: DatasetMapper, metadata: Metadata, style: DrawStyle
) -> Iterator[tuple[np.ndarray, str]]:
    """Yield panel and title of a training image with its annotations, and of a sample of it."""
    names, colors = metadata.get("thing_classes"), metadata.get("thing_colors")
    image = shrink(read_record_image(record), MAX_PANEL_SIDE)
    truth = ground_truth_annotations(record, *image.shape[:2])
    panel = draw_annotations(image, truth, names, colors, style=style)
    yield panel, f"annotated: {_count(truth)}"
    sample = mapper(record)
    panel = draw_sample(sample, names, mapper.image_format, class_colors=colors, style=style)
    yield panel, f"training sample: {_count(sample['instances'])}"


def _titled_panels(
    record: dict, predictor: Predictor, metadata: Metadata, style: DrawStyle
) -> Iterator[tuple[np.ndarray, str]]:
    """Yield panel and title of each view of one image, left to right.

    Names of annotated classes are those of ``metadata``, of predicted ones the predictor's.
    """
    pixels = read_record_image(record)
    image = shrink(pixels, MAX_PANEL_SIDE)
    size = image.shape[:2]  # that of the predictions, so no mask of a large photograph is made
    sample = predictor.prepare(pixels, size=size, name=f"image '{record['file_name']}'")
    (instances,) = predictor.predict([sample])
    colors = metadata.get("thing_colors")
    if "annotations" in record:
        truth = ground_truth_annotations(record, *size)
        names = metadata.get("thing_classes")
        panel = draw_annotations(image, truth, names, colors, style=style)
        yield panel, f"ground truth: {_count(truth)}"
    else:
        yield draw_annotations(image, []), "image"
    title = f"prediction: {_count(instances)} (score > {predictor.score_threshold:g})"
    yield predictor.draw(image, instances, class_colors=colors, style=style), title


def _count(annotations: Sequence | Instances) -> str:
    return f"{len(annotations)} object{'' if len(annotations) == 1 else 's'}"


def run(args: argparse.Namespace) -> int:
    """Draw the pictures, and return the exit status."""
    return run_tool(lambda: visualize(args), args)
