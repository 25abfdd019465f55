"""ONNX files of a detector: all of it at one image size, or backbone and pyramid at any size."""

import contextlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from unittest import mock

import torch
from detectron2.modeling import GeneralizedRCNN
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.structures import ImageList
from torch import Tensor, nn
from torchvision.ops import nms

from bpt_det.detection import PromptedViTBackbone, SimpleFeaturePyramid
from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.errors import InputError
from bpt_det.utils.extras import require_extra
from bpt_det.vit.exportable import exportable

from .predictor import Predictor

OPSET = 18
_TOLERANCE = 1e-3  # of features, relative to the largest one
_SPLIT = Tensor.split
_OUTPUTS = ("boxes", "scores", "classes", "masks")
_NMS_USERS = (
    "detectron2.modeling.proposal_generator.proposal_utils.batched_nms",
    "detectron2.modeling.roi_heads.fast_rcnn.batched_nms",
)


def export_detector(predictor: Predictor, path: str | Path, side: int | None = None) -> int:
    """Write a whole detector as an ONNX file for one image of a fixed size.

    Inputs: ``image`` (side, side, 3), uint8, RGB, resized as the config's test mapper does and put
    at the upper left; what is beside it does not matter. ``size`` (2,), int64: height and width of
    it. ``score_threshold`` (), float32: objects of a higher score are returned.
    Outputs, the best score first: ``boxes`` (N, 4), XYXY in pixels of the resized image;
    ``scores`` (N,); ``classes`` (N,), int64; and of a detector of masks ``masks`` (N, S, S), the
    probability of the object on a grid within its box.

    Args:
        predictor: of the detector, in float32 on the CPU.
        path: of the file.
        side: of the square image in pixels; None: to which the detector pads in training.

    Returns:
        The side.

    Raises:
        InputError: a package is missing, the detector is of another kind, the side is no multiple
            of what the pyramid needs, or the file cannot be written.
    """
    check_onnx_packages()
    model, backbone = _parts_of(predictor)
    side = _check_side(side, backbone)
    module = _Detector(model, predictor.channel_format).eval()
    image = torch.randint(256, (side, side, 3), dtype=torch.uint8)
    inputs = (image, torch.tensor([side, side]), torch.tensor(0.0))
    names = _OUTPUTS[: 4 if model.roi_heads.mask_on else 3]
    with _exporting(backbone, (side, side)), _traceable(), atomic_write(path) as partial:
        torch.onnx.export(
            module,
            inputs,
            str(partial),
            dynamo=False,  # the other exporter has no numbers of objects that depend on the image
            opset_version=OPSET,
            input_names=["image", "size", "score_threshold"],
            output_names=list(names),
            dynamic_axes={name: {0: "objects"} for name in names},
        )
        _describe(partial, {"classes": list(predictor.class_names), "side": side})
    return side


def export_pyramid(predictor: Predictor, path: str | Path) -> float:
    """Write backbone and pyramid as an ONNX file for any number and size of images.

    Input: ``images`` (B, 3, H, W), float32 in [0, 255], channels as the model takes them, H and W
    multiples of `divisor_of` the backbone, at least twice that; the padding to a square is the
    caller's. Outputs: ``p2`` and so on, (B, C, H / 4, W / 4) …

    Returns:
        The largest difference from the model's features, at another size than the traced one.

    Raises:
        InputError: a package is missing, the detector is of another kind, the file cannot be
            written, or its features are other ones.
    """
    check_onnx_packages()
    model, backbone = _parts_of(predictor)
    program = export_program(predictor)
    with atomic_write(path) as partial, _quiet():
        names = list(backbone.output_shape())
        onnx_program: Any = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=names,
            verbose=False,
        )
        onnx_program.save(str(partial))
        _describe(partial, {"divisor": divisor_of(backbone), "padding": backbone.square_pad})
        return _check_pyramid(model, partial)


def export_program(predictor: Predictor) -> torch.export.ExportedProgram:
    """Return backbone and pyramid as a program of `torch.export`; see `export_pyramid`.

    Raises:
        InputError: the detector is of another kind.
    """
    model, backbone = _parts_of(predictor)
    step = divisor_of(backbone)
    dimensions = {name: torch.export.Dim(name, min=2, max=1024) for name in ("rows", "columns")}
    dynamic = {
        0: torch.export.Dim("batch", min=1, max=1024),
        2: step * dimensions["rows"],
        3: step * dimensions["columns"],
    }
    images = torch.zeros(2, 3, 2 * step, 3 * step)
    with _exporting(backbone), mock.patch.object(backbone, "square_pad", 0):
        module = _Pyramid(model).eval()
        return torch.export.export(module, (images,), dynamic_shapes={"images": dynamic})


def divisor_of(backbone: SimpleFeaturePyramid) -> int:
    """Return the stride of the coarsest level, pixels."""
    return max(shape.stride for shape in backbone.output_shape().values())


def _check_pyramid(model: GeneralizedRCNN, path: Path) -> float:
    """Return how far the features of a file are from the model's, relative to their own size."""
    import onnxruntime

    step = divisor_of(model.backbone)
    generator = torch.Generator().manual_seed(0)
    images = 255 * torch.rand(1, 3, 3 * step, 2 * step, generator=generator)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad(), mock.patch.object(model.backbone, "square_pad", 0):
        expected = _Pyramid(model).eval()(images)
    differences = [
        float((torch.from_numpy(map_) - ours).abs().max() / ours.abs().max())
        for map_, ours in zip(session.run(None, {"images": images.numpy()}), expected, strict=True)
    ]
    if max(differences) > _TOLERANCE:
        raise InputError(
            f"the features of the ONNX file differ from the model's by {max(differences):.2g} of "
            "their size, so it was not kept; report this with the config."
        )
    return max(differences)


class _Pyramid(nn.Module):
    def __init__(self, model: GeneralizedRCNN) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.pixel_mean, self.pixel_std = model.pixel_mean, model.pixel_std

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone((images - self.pixel_mean) / self.pixel_std).values())


class _Detector(nn.Module):
    """What `GeneralizedRCNN.inference` does with one image, as a function of tensors."""

    def __init__(self, model: GeneralizedRCNN, channel_format: str) -> None:
        super().__init__()
        self.model = model
        self.is_bgr = channel_format == "BGR"

    def forward(self, image: Tensor, size: Tensor, score_threshold: Tensor) -> tuple[Tensor, ...]:
        model = self.model
        pixels = image.permute(2, 0, 1).float()
        if self.is_bgr:
            pixels = pixels.flip(0)
        side = torch.arange(image.shape[0], device=image.device)
        is_inside = (side < size[0])[:, None] & (side < size[1])
        normalized = (pixels - model.pixel_mean) / model.pixel_std * is_inside
        images = ImageList(normalized[None], [(size[0], size[1])])
        features = model.backbone(images.tensor)
        proposals, _ = model.proposal_generator(images, features, None)
        with _thresholds(model, score_threshold):
            instances = model.roi_heads(images, features, proposals, None)[0][0]
        outputs = (instances.pred_boxes.tensor, instances.scores, instances.pred_classes)
        return (*outputs, instances.pred_masks[:, 0]) if model.roi_heads.mask_on else outputs


@contextlib.contextmanager
def _thresholds(model: nn.Module, threshold: Any) -> Iterator[None]:
    heads = [m for m in model.modules() if isinstance(m, FastRCNNOutputLayers)]
    before = [head.test_score_thresh for head in heads]
    try:
        for head in heads:
            head.test_score_thresh = threshold
        yield
    finally:
        for head, value in zip(heads, before, strict=True):
            head.test_score_thresh = value


@contextlib.contextmanager
def _exporting(
    backbone: SimpleFeaturePyramid, image_size: tuple[int, int] | None = None
) -> Iterator[None]:
    with exportable(backbone.net.prompted_vit, image_size), torch.no_grad(), _quiet():
        yield


@contextlib.contextmanager
def _traceable() -> Iterator[None]:
    """Replace what a trace would make constants of: numbers of objects of the traced image."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(Tensor, "split", _split))
        for name in _NMS_USERS:
            stack.enter_context(mock.patch(name, _batched_nms))
        yield


def _split(tensor: Tensor, sizes: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """`Tensor.split`, whose one part is the tensor: Detectron2 splits by images, here one."""
    return (tensor,) if isinstance(sizes, list) and len(sizes) == 1 else _SPLIT(tensor, sizes, dim)


def _batched_nms(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """`torchvision.ops.batched_nms` by shifted boxes, also of no box at all."""
    zero = boxes.new_zeros(1)
    shift = groups.to(boxes) * (torch.cat([boxes.flatten(), zero]).max() + 1)
    return nms(boxes + shift[:, None], scores, threshold)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out warnings of tracers about values that are constants of a fixed size."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _parts_of(predictor: Predictor) -> tuple[GeneralizedRCNN, SimpleFeaturePyramid]:
    model = predictor.model
    backbone: Any = getattr(model, "backbone", None)
    is_known = type(model) is GeneralizedRCNN and isinstance(backbone, SimpleFeaturePyramid)
    if not is_known or not isinstance(backbone.net, PromptedViTBackbone):
        raise InputError(
            "an export needs a GeneralizedRCNN on a SimpleFeaturePyramid of a "
            f"PromptedViTBackbone, got {type(model).__name__} on {type(backbone).__name__}."
        )
    return cast(GeneralizedRCNN, model), backbone


def _check_side(side: int | None, backbone: SimpleFeaturePyramid) -> int:
    step = backbone.size_divisibility
    if side is None and not backbone.square_pad:
        raise InputError(f"the detector pads to no square; give the side, a multiple of {step}.")
    side = backbone.square_pad if side is None else side
    if side < step or side % step:
        below = max(step, side // step * step)
        raise InputError(
            f"the side of the image must be a multiple of {step}, such as {below} or "
            f"{below + step}, got {side}."
        )
    if side < backbone.square_pad:
        raise InputError(
            f"the side of the image must be at least {backbone.square_pad}, to which the detector "
            f"pads, got {side}."
        )
    return side


def check_onnx_packages() -> None:
    """Check that what writes and checks ONNX files is installed.

    Raises:
        InputError: a package is missing.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require_extra(package, "onnx", "ONNX files")


def _describe(path: Path, facts: dict[str, Any]) -> None:
    """Write facts into the metadata of an ONNX file, as JSON."""
    import onnx

    content = onnx.load(path)
    onnx.checker.check_model(content)
    onnx.helper.set_model_props(content, {"bpt_det": json.dumps(facts)})
    onnx.save(content, path)
