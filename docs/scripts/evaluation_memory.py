"""Memory and time of an evaluation after the model, on simulated images with 100 predictions each.

Collects the predictions as an evaluation does, scores boxes and masks, and prints CPU seconds and
the peak of the resident memory above that of the start. No data and no model are needed:

    PYTHONPATH=. python docs/scripts/evaluation_memory.py 500 5000
"""

import itertools
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.structures import Boxes, Instances, ROIMasks

from bpt_det.benchmark.cost import peak_bytes
from bpt_det.detection import CocoEvaluator

_CLASSES, _OBJECTS, _PREDICTIONS = 80, 7, 100  # the last two of an image
_COLUMNS = ("images", "collected, GB", "peak, GB", "collecting, CPU s", "scoring, CPU s")
_COLUMNS += ("box AP", "mask AP")
_HEIGHT, _WIDTH, _MASK_SIDE = 480, 640, 28


def write_truth(path: Path, num_images: int) -> dict[int, list[dict]]:
    """Write an annotation file of random objects; return them by image."""
    random = np.random.default_rng(0)
    truth: dict[int, list[dict]] = {}
    for image_id in range(1, num_images + 1):
        truth[image_id] = []
        for number in range(_OBJECTS):
            x, y, width, height = _random_box(random)
            corner = [x, y, x + width, y, x + width, y + 0.6 * height, x + 0.4 * width, y + height]
            truth[image_id].append(
                {
                    "id": image_id * _OBJECTS + number,
                    "image_id": image_id,
                    "category_id": int(random.integers(1, _CLASSES + 1)),
                    "bbox": [x, y, width, height],
                    "area": 0.7 * width * height,
                    "iscrowd": 0,
                    "segmentation": [corner],
                }
            )
    size = {"height": _HEIGHT, "width": _WIDTH}
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg", **size} for i in truth],
        "annotations": [annotation for objects in truth.values() for annotation in objects],
        "categories": [{"id": i, "name": f"class {i}"} for i in range(1, _CLASSES + 1)],
    }
    path.write_text(json.dumps(content))
    return truth


def _random_box(random: np.random.Generator) -> list[float]:
    corner = random.uniform(0, (_WIDTH - 120, _HEIGHT - 120))
    return [*corner.tolist(), *random.uniform(10, 110, 2).tolist()]


def simulate(objects: Sequence[dict], masks: torch.Tensor, seed: int) -> Instances:
    """Return predictions in an image: its objects, moved a little, and others at random."""
    random = np.random.default_rng(seed)
    rows = [np.array(a["bbox"]) * random.uniform(0.9, 1.1, 4) for a in objects]
    rows += [np.array(_random_box(random)) for _ in range(_PREDICTIONS - len(objects))]
    boxes = np.stack(rows)
    boxes[:, 2:] = np.minimum(boxes[:, :2] + boxes[:, 2:], (_WIDTH, _HEIGHT))
    classes = random.integers(0, _CLASSES, _PREDICTIONS)
    classes[: len(objects)] = [a["category_id"] - 1 for a in objects]
    return Instances(
        (_HEIGHT, _WIDTH),
        pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32)),
        scores=torch.tensor(random.uniform(0.01, 1, _PREDICTIONS), dtype=torch.float32),
        pred_classes=torch.tensor(classes),
        roi_masks=ROIMasks(masks),
    )


def measure(num_images: int) -> list[str]:
    """Return a row of the table."""
    random = torch.Generator().manual_seed(0)
    blobs = torch.rand(_PREDICTIONS, 1, 5, 5, generator=random)
    masks = torch.nn.functional.interpolate(blobs, size=_MASK_SIDE, mode="bilinear")[:, 0]
    metrics: dict[str, dict[str, float]] = {}
    times = [0.0] * 3
    with tempfile.TemporaryDirectory() as folder:
        truth = write_truth(Path(folder, "truth.json"), num_images)
        MetadataCatalog.get("simulated").set(
            json_file=f"{folder}/truth.json",
            thing_classes=[f"class {i}" for i in range(1, _CLASSES + 1)],
            thing_dataset_id_to_contiguous_id={i: i - 1 for i in range(1, _CLASSES + 1)},
        )
        evaluator = CocoEvaluator("simulated", folder, num_pictures=0)
        evaluator.reset()

        def collect() -> None:
            for image_id, objects in truth.items():
                instances = simulate(objects, masks, image_id)
                sample = {"image_id": image_id, "file_name": f"{image_id}.jpg"}
                evaluator.process([sample], [{"instances": instances}])

        def evaluate() -> None:
            times[0] = time.process_time()
            collect()
            times[1] = time.process_time()
            metrics.update(evaluator.evaluate())
            times[2] = time.process_time()

        collected = peak_bytes(collect, "cpu")
        evaluator.reset()
        peak = peak_bytes(evaluate, "cpu")
    seconds = [f"{after - before:.1f}" for before, after in itertools.pairwise(times)]
    rates = [f"{metrics[task]['AP']:.4f}" for task in ("bbox", "segm")]
    sizes = ["" if size is None else f"{size / 1e9:.3f}" for size in (collected, peak)]
    return [str(num_images), *sizes, *seconds, *rates]


def main() -> int:
    """Measure each number of images of the command line in a process of its own."""
    counts = sys.argv[1:]
    if len(counts) == 1:
        logging.disable()
        print(f"| {' | '.join(measure(int(counts[0])))} |")
        return 0
    print(f"| {' | '.join(_COLUMNS)} |\n|{'---|' * len(_COLUMNS)}", flush=True)
    for count in counts:
        subprocess.run([sys.executable, __file__, count], check=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
