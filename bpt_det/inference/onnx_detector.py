"""ONNX detector: a file of `export_detector` run by ONNX Runtime, in place of a model."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from detectron2.modeling.postprocessing import detector_postprocess
from detectron2.structures import Boxes, Instances, ROIMasks
from torch import nn

from bpt_det.data.images import ImageLike
from bpt_det.detection.evaluation.roi_mask_detector import postprocess_without_pasting
from bpt_det.utils.errors import InputError, one_line
from bpt_det.utils.extras import require_extra
from bpt_det.utils.progress import progress_bar

from .batching import predict_batch
from .predictor import Predictor

_SCORE = 1e-3  # that a score may differ by
_MASK = 0.05  # share of a mask that may differ
_LEAST_MASK = 100  # pixels; of a smaller mask the share is of so many


class OnnxDetector(nn.Module):
    """A detector that takes and returns what a `GeneralizedRCNN` does in evaluation mode.

    Args:
        path: of the file.
        channel_format: of the images that it is given, ``RGB`` or ``BGR``.
        score_threshold: objects of a higher score are returned.
        paste: False leaves masks within their boxes, as `RoiMaskDetector` does.
        num_threads: of the CPU; 0: all.

    Attributes:
        class_names: by class index.
        side: of the square image of the file, pixels.

    Raises:
        InputError: ONNX Runtime is missing, or it is no such file.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        channel_format: str = "RGB",
        score_threshold: float = 0.05,
        paste: bool = True,
        num_threads: int = 0,
    ) -> None:
        super().__init__()
        require_extra("onnxruntime", "onnx", "ONNX files")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.log_severity_level = 3  # errors
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            facts = json.loads(self.session.get_modelmeta().custom_metadata_map["bpt_det"])
            self.class_names: list[str] = facts["classes"]
            self.side: int = facts["side"]
        except Exception as error:  # ONNX Runtime's have no class in common
            raise InputError(
                f"'{path}' is no ONNX file of a detector ({one_line(error)[:200]}); export it "
                "again."
            ) from error
        self._is_bgr = channel_format == "BGR"
        self._threshold = np.array(score_threshold, np.float32)
        self._postprocess = detector_postprocess if paste else postprocess_without_pasting

    def forward(self, batch: Sequence[dict]) -> list[dict]:
        """Return ``instances`` of each image, at its ``height`` and ``width``.

        Raises:
            InputError: an image is larger than the file takes.
        """
        return [{"instances": self._predict(sample)} for sample in batch]

    def _predict(self, sample: dict) -> Instances:
        height, width = size = sample["image"].shape[-2:]
        if max(size) > self.side:
            raise InputError(
                f"the image of {height} x {width} pixels is larger than the {self.side} of the "
                "ONNX file; export it with a larger side."
            )
        pixels = sample["image"].permute(1, 2, 0).cpu().numpy()
        image = np.zeros((self.side, self.side, 3), np.uint8)
        image[:height, :width] = pixels[:, :, ::-1] if self._is_bgr else pixels
        inputs = {
            "image": image,
            "size": np.array(size, np.int64),
            "score_threshold": self._threshold,
        }
        outputs = map(torch.from_numpy, self.session.run(None, inputs))
        boxes, scores, classes, *masks = outputs
        instances = Instances(
            (height, width), pred_boxes=Boxes(boxes), scores=scores, pred_classes=classes
        )
        if masks:
            instances.pred_masks = ROIMasks(masks[0])
        return self._postprocess(
            instances, sample.get("height", height), sample.get("width", width)
        )


class Comparison(NamedTuple):
    """Largest differences between an ONNX file and the model that it was made of.

    Attributes:
        num_objects: compared.
        pixels: of a side of a box.
        score: of a score.
        mask_pixels: share of the pixels of a mask, or of 100 pixels if it has fewer, in [0, 1].
    """

    num_objects: int
    pixels: float
    score: float
    mask_pixels: float


def compare_with_onnx(
    predictor: Predictor, path: str | Path, images: Sequence[ImageLike], *, pixels: float = 0.1
) -> Comparison:
    """Compare the objects that an ONNX file finds with those of the model that it was made of.

    Args:
        predictor: of the model.
        path: of the file.
        images: to look at, see `Predictor.__call__`.
        pixels: that a side of a box may differ by.

    Raises:
        InputError: an object of one has no counterpart in the other, or see `OnnxDetector`.
    """
    threshold = predictor.score_threshold or 0.0
    detector = OnnxDetector(
        path, channel_format=predictor.channel_format, score_threshold=threshold
    )
    worst = Comparison(0, 0.0, 0.0, 0.0)
    for image in progress_bar(iterable=images, desc="comparing", unit=" images", leave=False):
        sample = predictor.prepare(image)
        both = predictor.predict([sample])[0], predict_batch(detector, [sample])[0]
        for ours, others in (both, both[::-1]):
            # One that scores hardly more than the threshold may be below it for the other.
            for index in (ours.scores > threshold + _SCORE).nonzero()[:, 0].tolist():
                difference = _differences(ours[index], others)
                if (
                    difference is None
                    or difference.pixels > pixels
                    or difference.score > _SCORE
                    or difference.mask_pixels > _MASK
                ):
                    raise InputError(
                        f"'{path}' differs from the model: an object of score "
                        f"{ours.scores[index]:.3f} has no counterpart; do not use it, and report "
                        "this with the config."
                    )
                worst = Comparison(worst.num_objects + 1, *map(max, worst[1:], difference[1:]))
    return worst._replace(num_objects=worst.num_objects // 2)


def _differences(single: Instances, others: Instances) -> Comparison | None:
    """Return how the nearest object of the same class differs; None: there is none."""
    others = others[others.pred_classes == single.pred_classes]
    if not len(others):
        return None
    distances = (others.pred_boxes.tensor - single.pred_boxes.tensor).abs().amax(dim=1)
    distances += (others.scores - single.scores).abs()
    nearest = others[int(distances.argmin())]
    boxes = (nearest.pred_boxes.tensor - single.pred_boxes.tensor).abs().max()
    score = (nearest.scores - single.scores).abs()
    masks = 0.0
    if single.has("pred_masks"):
        either = (nearest.pred_masks | single.pred_masks).sum().clamp(min=_LEAST_MASK)
        masks = float((nearest.pred_masks ^ single.pred_masks).sum() / either)
    return Comparison(1, float(boxes), float(score), masks)
