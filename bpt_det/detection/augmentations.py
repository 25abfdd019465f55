"""Augmentations beyond flip and jitter: vertical flip, rotation, color and blur, off at 0.

They are made of Detectron2's and torchvision's own parts, with one number each.
"""

from bpt_det.utils.opencv import cv2  # noqa: F401  before detectron2: explains a missing libGL

# isort: split
import detectron2.data.transforms as T
import numpy as np
import torch
from fvcore.transforms.transform import (
    BlendTransform,
    CropTransform,
    NoOpTransform,
    Transform,
    TransformList,
)
from torchvision.transforms.functional import gaussian_blur

from bpt_det.utils.errors import InputError

_LUMA = (0.299, 0.587, 0.114)  # weights of R, G, B in gray


class RandomVerticalFlip(T.RandomFlip):
    """Detectron2's flip upside down, of a probability that is looked at.

    Args:
        prob: probability, in [0, 1].

    Raises:
        InputError: it is out of range.
    """

    def __init__(self, prob: float) -> None:
        _check("vertical_flip", prob, 1)
        super().__init__(prob, horizontal=False, vertical=True)


class RandomRotation(T.Augmentation):
    """Rotation about the center by an angle drawn evenly; corners become black.

    Args:
        max_angle: degrees to either side, in [0, 180].

    Raises:
        InputError: it is out of range.
    """

    def __init__(self, max_angle: float) -> None:
        super().__init__()
        _check("rotation", max_angle, 180)
        self._init({"max_angle": max_angle})

    def get_transform(self, image: np.ndarray) -> Transform:
        """Return the transform of an image (H, W, C)."""
        if not self.max_angle:
            return NoOpTransform()
        angle = np.random.uniform(-self.max_angle, self.max_angle)
        return _Rotation(*image.shape[:2], angle, expand=False)


class _Rotation(T.RotationTransform):
    """Detectron2's rotation, with polygons cut off at the edges of the image."""

    def apply_polygons(self, polygons: list[np.ndarray]) -> list[np.ndarray]:
        rotated = [self.apply_coords(polygon.astype(float)) for polygon in polygons]
        return CropTransform(0, 0, self.w, self.h).apply_polygons(rotated)


class ColorJitter(T.Augmentation):
    """Brightness, contrast and saturation, each scaled by a factor of its own.

    Args:
        strength: factors are drawn from 1 - strength to 1 + strength, in [0, 1).
        image_format: of the images, RGB or BGR.

    Raises:
        InputError: it is out of range.
    """

    def __init__(self, strength: float, image_format: str = "RGB") -> None:
        super().__init__()
        _check("color", strength, 1, below=True)
        self._init({"strength": strength, "image_format": image_format})

    def get_transform(self, image: np.ndarray) -> Transform:
        """Return the transform of an image (H, W, 3), uint8."""
        if not self.strength:
            return NoOpTransform()
        weights = _LUMA if self.image_format == "RGB" else _LUMA[::-1]
        pixels = image.astype(np.float32)
        gray = (pixels @ np.asarray(weights, dtype=np.float32))[..., None]
        brightness, contrast, saturation = (
            np.random.uniform(1 - self.strength, 1 + self.strength) for _ in range(3)
        )
        return TransformList(
            [
                BlendTransform(src_image=0.0, src_weight=1 - brightness, dst_weight=brightness),
                BlendTransform(src_image=gray.mean(), src_weight=1 - contrast, dst_weight=contrast),
                BlendTransform(src_image=gray, src_weight=1 - saturation, dst_weight=saturation),
            ]
        )


class RandomBlur(T.Augmentation):
    """Gaussian blur of half of the images.

    Args:
        max_sigma: standard deviation in pixels, drawn evenly from 0.1; in [0, 10].

    Raises:
        InputError: it is out of range.
    """

    def __init__(self, max_sigma: float) -> None:
        super().__init__()
        _check("blur", max_sigma, 10)
        self._init({"max_sigma": max_sigma})

    def get_transform(self, image: np.ndarray) -> Transform:
        """Return the transform of an image (H, W, C), uint8."""
        if not self.max_sigma or np.random.uniform() < 0.5:
            return NoOpTransform()
        return _Blur(np.random.uniform(min(0.1, self.max_sigma), self.max_sigma))


class _Blur(Transform):
    def __init__(self, sigma: float) -> None:
        super().__init__()
        self.sigma = sigma

    def apply_image(self, image: np.ndarray) -> np.ndarray:
        size = 2 * int(np.ceil(3 * self.sigma)) + 1
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        if min(pixels.shape[1:]) <= size // 2:  # too thin to be padded by reflection
            return image
        blurred = gaussian_blur(pixels, [size, size], [self.sigma, self.sigma])
        return blurred.permute(1, 2, 0).numpy()

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        return coords

    def apply_segmentation(self, segmentation: np.ndarray) -> np.ndarray:
        return segmentation


def _check(name: str, value: object, most: float, *, below: bool = False) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= most or (below and value == most):
        raise InputError(
            f"augmentation.{name} must be in [0, {most}{')' if below else ']'}, got {value!r}; 0 "
            "turns it off."
        )
