"""Pictures of a dataset: some images of each split with their annotations."""

from collections.abc import Mapping
from pathlib import Path

from bpt_det.utils.opencv import cv2  # noqa: F401  before detectron2: explains a missing libGL

# isort: split
from detectron2.structures import BoxMode

from bpt_det.data.coco_dataset import CocoDataset, read_coco
from bpt_det.data.coco_files import explain_missing, find_image_files
from bpt_det.data.images import read_rgb, spread_evenly
from bpt_det.utils.errors import InputError

from .annotations import ground_truth_annotations
from .draw import MAX_PANEL_SIDE, draw_annotations
from .picture_files import picture_names, prepare_output, save_picture
from .sheet import contact_sheet, contact_sheet_tile, shrink

_NUM_DRAWN = 16  # images of each split


def draw_annotated(
    sources: Mapping[str, tuple[str, str | None]], output: Path, option: str = "folder"
) -> list[Path]:
    """Draw some images of each split with their annotations, and return the contact sheets.

    Args:
        sources: annotation source and image folder by split.
        output: folder for the pictures.
        option: what the caller calls it, for errors.

    Raises:
        InputError: annotations have errors, or images are missing.
    """
    sheets = []
    for split, (file, root) in sources.items():
        if root is None:
            raise InputError(f"no image folder given for '{file}'; give it to have images drawn.")
        folder = output / split if split else output
        sheets.append(_draw(read_coco(file), str(root), folder, option))
    return sheets


def _draw(dataset: CocoDataset, root: str, folder: Path, option: str) -> Path:
    names = {key: image["file_name"] for key, image in dataset.images.items()}
    paths, missing = find_image_files(names, root)
    if missing:
        raise InputError(explain_missing(missing, len(names), root))
    records = [{"image_id": i, "key": key} for i, key in enumerate(dataset.images)]
    annotated = [record for record in records if dataset.annotations[record["key"]]]
    chosen = [record["key"] for record in spread_evenly(annotated or records, _NUM_DRAWN)]
    files = [paths[key] for key in chosen]
    pictures = picture_names(files, [".png"] * len(files), reserved=["contact_sheet"])
    folder.mkdir(parents=True, exist_ok=True)
    prepare_output(folder, ["contact_sheet.png", *pictures], option=option)
    indexes = {key: index for index, key in enumerate(dataset.class_names)}
    tiles = []
    for key, file, name in zip(chosen, files, pictures, strict=True):
        image = shrink(read_rgb(file), MAX_PANEL_SIDE)
        entries = [
            {**a, "bbox_mode": BoxMode.XYWH_ABS, "category_id": indexes[a["category_id"]]}
            for a in dataset.annotations[key]
        ]
        record = {**dataset.images[key], "annotations": entries}
        drawn = ground_truth_annotations(record, *image.shape[:2])
        panel = draw_annotations(image, drawn, list(dataset.class_names.values()))
        save_picture(panel, folder / name)
        tiles.append(contact_sheet_tile(panel))
    sheet = folder / "contact_sheet.png"
    save_picture(contact_sheet(tiles, [Path(file).name for file in files]), sheet)
    return sheet
