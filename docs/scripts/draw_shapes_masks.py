"""Draw docs/images/shapes_masks.png: ground truth above predictions, on images of the embedded
dataset, by the detector that comes with the package.

The images are every 29th of the 150 validation images, none is picked by its result.

    python -m bpt_det.shapes --output datasets/shapes --num-train 1
    python docs/scripts/draw_shapes_masks.py
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from detectron2.config import instantiate
from detectron2.data import MetadataCatalog
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from bpt_det import Predictor, load_config
from bpt_det.detection.mapper import read_record_image
from bpt_det.visualization.annotations import (
    Annotation,
    ground_truth_annotations,
    predicted_annotations,
    resize_annotation,
)
from bpt_det.visualization.draw import draw_annotations

OUTPUT = Path(__file__).parents[1] / "images" / "shapes_masks.png"
CHECKPOINT, STEP, SCORE = "bpt_det:cascade_bpt_s_shapes.pth", 29, 0.5
SIDE, GAP, STRIP, MARGIN = 224, 8, 30, 10  # pixels


def main() -> None:
    """Draw and write the picture."""
    cfg = load_config("shapes/cascade_bpt_s")
    predictor = Predictor(cfg, CHECKPOINT)
    records = instantiate(cfg.dataloader.test.dataset)[STEP - 1 :: STEP]
    names = MetadataCatalog.get(cfg.dataloader.test.dataset.names).thing_classes
    rows: dict[str, list[np.ndarray]] = {"ground truth": [], "prediction": []}
    for record in records:
        image = read_record_image(record)
        instances = predictor(image)
        instances = instances[instances.scores > SCORE]
        truth = ground_truth_annotations(record, *image.shape[:2])
        rows["ground truth"].append(draw(image, truth, names))
        rows["prediction"].append(draw(image, predicted_annotations(instances), names))
    width = len(records) * (SIDE + GAP) - GAP + 2 * MARGIN
    sheet = Image.new("RGB", (width, len(rows) * (STRIP + SIDE + GAP) + MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 16)
    for row, (title, panels) in enumerate(rows.items()):
        top = row * (STRIP + SIDE + GAP)
        pen.text((MARGIN, top + 8), title, fill="#333333", font=font)
        for column, panel in enumerate(panels):
            sheet.paste(Image.fromarray(panel), (MARGIN + column * (SIDE + GAP), top + STRIP))
    OUTPUT.parent.mkdir(exist_ok=True)
    sheet.quantize(160, dither=Image.Dither.NONE).save(OUTPUT, optimize=True)


def draw(image: np.ndarray, annotations: Sequence[Annotation], names: Sequence[str]) -> np.ndarray:
    """Return a panel of SIDE pixels, with labels that are legible at this size."""
    old, new = image.shape[:2], (SIDE, SIDE)
    large = cv2.resize(image, new, interpolation=cv2.INTER_CUBIC)
    resized = [resize_annotation(annotation, old, new) for annotation in annotations]
    return draw_annotations(large, resized, names, magnify=False)


if __name__ == "__main__":
    main()
