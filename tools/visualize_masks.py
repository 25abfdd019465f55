#!/usr/bin/env python
"""Draw what a trained detector finds: ground truth beside prediction, as pictures.

Draws images of the config's validation data (dataloader.test), or of any folder with --input, which
has no ground truth. One PNG per image and all of them on contact_sheet.png go to --output.

The images are spread evenly over the data: sorted by image_id (files: by name) they are cut into
--num-images stretches of the same length, and the middle image of each is drawn. So the same call
draws the same images, for every model.

The checkpoint is --checkpoint, else train.init_checkpoint, else the last one of train.output_dir.
Settings of the config are changed as key=value:

    python tools/visualize_masks.py --config-file configs/shapes/cascade_bpt_s.py \\
        --output output/pictures train.output_dir=output/shapes/cascade_bpt_s
    python tools/visualize_masks.py --config-file configs/coco/cascade_bpt_s.py \\
        --checkpoint model_final.pth --input my_photos --output output/my_photos
"""

import argparse
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import bpt_det.opencv  # noqa: F401  before detectron2 imports cv2: explains a missing libGL

# isort: split
import numpy as np
from detectron2.config import instantiate
from detectron2.data import Metadata, MetadataCatalog
from omegaconf import DictConfig
from PIL import Image
from tqdm import tqdm

from bpt_det.detection.prediction import (
    folder_records,
    predict,
    predicted_objects,
    read_rgb,
    spread_evenly,
)
from bpt_det.detection.visualization import (
    MAX_PANEL_SIDE,
    contact_sheet,
    contact_sheet_tile,
    draw_objects,
    ground_truth_objects,
    shrink,
    side_by_side,
)
from bpt_det.engine.config import load_config
from bpt_det.engine.launch import run_tool
from bpt_det.engine.loop import load_trained_model
from bpt_det.engine.output_dir import make_writable
from bpt_det.errors import InputError

SHEET_NAME = "contact_sheet.png"

logger = logging.getLogger("visualize_masks")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="LazyConfig of the detector")
    parser.add_argument("--output", required=True, help="folder for the pictures")
    parser.add_argument("--input", help="folder of images to draw instead of the validation data")
    parser.add_argument("--num-images", type=int, default=16, help="how many (default: 16)")
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=0.5,
        help="predictions of at least this score are drawn, in [0, 1] (default: 0.5); those under "
        "the box predictors' test_score_thresh never leave the model",
    )
    parser.add_argument("--checkpoint", default="", help="file that tools/train_net.py has written")
    parser.add_argument("opts", nargs="*", metavar="key=value", help="settings of the config")
    return parser


def visualize(args: argparse.Namespace) -> None:
    """Do what a parsed command line of `build_parser` asks for."""
    _refuse_bad_numbers(args)
    cfg = load_config(args.config_file, args.opts)
    records = folder_records(args.input) if args.input else instantiate(cfg.dataloader.test.dataset)
    chosen = spread_evenly(records, args.num_images)
    metadata = _metadata(cfg)
    paths = [Path(args.output) / name for name in picture_names(chosen)]
    sheet_path = Path(args.output) / SHEET_NAME
    _prepare_output([sheet_path, *paths])
    model = load_trained_model(cfg, args.checkpoint)
    mapper = instantiate(cfg.dataloader.test.mapper)
    tiles = []
    for record, path in zip(tqdm(chosen, desc="drawing", disable=None), paths, strict=True):
        panels = _titled_panels(record, model, mapper, metadata, args.score_threshold)
        picture = side_by_side(*zip(*panels, strict=True))
        _save(picture, path)
        tiles.append(contact_sheet_tile(picture, len(chosen)))
    _save(contact_sheet(tiles, [Path(r["file_name"]).name for r in chosen]), sheet_path)
    logger.info("%d of %d images drawn, see %s", len(chosen), len(records), sheet_path)


def _titled_panels(
    record: dict, model, mapper, metadata: Metadata, score_threshold: float
) -> Iterator[tuple[np.ndarray, str]]:
    """Yield panel and title of each view of one image, left to right."""
    image = shrink(read_rgb(record["file_name"]), MAX_PANEL_SIDE)
    size = image.shape[:2]
    style = (metadata.get("thing_classes"), metadata.get("thing_colors"))
    found = predicted_objects(predict(model, mapper, record, *size), score_threshold)
    if "annotations" in record:
        truth = ground_truth_objects(record, *size)
        yield draw_objects(image, truth, *style), f"ground truth: {_count(truth)}"
    else:
        yield draw_objects(image, []), "image"
    title = f"prediction: {_count(found)} (score ≥ {score_threshold:g})"
    yield draw_objects(image, found, *style), title


def picture_names(records: Sequence[dict]) -> list[str]:
    """Return the name of each record's picture; images of the same name get a number."""
    taken = {Path(SHEET_NAME).stem}
    names = []
    for record in records:
        stem = name = Path(record["file_name"]).stem
        number = 1
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name)
        names.append(f"{name}.png")
    return names


def _refuse_bad_numbers(args: argparse.Namespace) -> None:
    if args.num_images < 1:
        raise InputError(f"--num-images must be at least 1, got {args.num_images}.")
    if not 0 <= args.score_threshold <= 1:
        raise InputError(f"--score-threshold must be in [0, 1], got {args.score_threshold}.")


def _metadata(cfg: DictConfig) -> Metadata:
    """Return names and colours of the classes; a folder of images can do without them."""
    metadata = MetadataCatalog.get(cfg.dataloader.test.dataset.names)
    if "thing_classes" not in metadata.as_dict():
        try:
            instantiate(cfg.dataloader.test.dataset)  # reads the names from the annotation file
        except InputError as error:
            logger.warning("classes are shown by number, as their names are unknown: %s", error)
    return metadata


def _prepare_output(paths: Sequence[Path]) -> None:
    """Make the output folder, and refuse to write over anything."""
    folder = paths[0].parent
    make_writable(folder, "--output")
    present = [path.name for path in paths if path.exists()]
    if present:
        raise InputError(
            f"--output '{folder}' already holds {present[0]}; choose another folder, or delete "
            "this one."
        )


def _save(picture: np.ndarray, path: Path) -> None:
    try:
        Image.fromarray(picture).save(path)
    except OSError as error:
        raise InputError(f"cannot write '{path}': {error.strerror or error}.") from error


def _count(objects: Sequence) -> str:
    return f"{len(objects)} object{'' if len(objects) == 1 else 's'}"


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, draw the pictures, and return the exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for name in (logger.name, "bpt_det"):
        logging.getLogger(name).setLevel(logging.INFO)
    args = build_parser().parse_intermixed_args(argv)
    return run_tool(lambda: visualize(args))


if __name__ == "__main__":
    raise SystemExit(main())
