"""Classification mapper: from a record of a dataset to the sample that a classifier takes."""

import zlib
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from bpt_det.data.images import read_rgb
from bpt_det.utils.errors import InputError, check_choice, check_count

from .batch_crops import INTERPOLATIONS
from .token_store import CachedFeatures

CROPS = ("resized", "random")


class ClassificationMapper:
    """Reads an image and crops it; random choices come from torch's global generator.

    Training crops a random part and flips it by chance; otherwise the shorter side is resized and
    the center cut out. Both resize with Pillow, as the published code does: WangYZ1608/BPT@9fc3c78
    Dataset/FGVC.py resized crops and ``bicubic``, KMnP/vpt@4410440 src/data/transforms.py crops of
    the resized image and ``bilinear``.

    Args:
        image_size: side of the crop in pixels.
        resize_size: shorter side in pixels before the center is cut out.
        augment: whether to crop and flip by chance.
        crop: ``resized``: a part of ``min_area`` to all of the area, resized to ``image_size``; or
            ``random``: the shorter side is resized to ``resize_size`` and ``image_size`` cut out.
        min_area: least share of the area of a resized crop, in (0, 1].
        interpolation: ``bicubic`` or ``bilinear``.
        num_views: so many fixed random crops of each image, of which every call takes one; they
            depend on the image's id alone. None: another crop every time.

    Attributes:
        description: text that tells one way of making views from another.
        features: what stands in for the images of the fixed views, see `FeatureCache`; None: the
            images are read.

    Raises:
        InputError: a size is not positive, the crop is larger than what it is cut out of, or a
            choice is unknown.
    """

    def __init__(
        self,
        image_size: int = 224,
        resize_size: int = 256,
        *,
        augment: bool = True,
        crop: str = "resized",
        min_area: float = 0.08,
        interpolation: str = "bicubic",
        num_views: int | None = None,
    ) -> None:
        is_whole = isinstance(image_size, int) and isinstance(resize_size, int)
        if not is_whole or not 1 <= image_size <= resize_size:
            raise InputError(
                f"image_size must be an integer in [1, resize_size={resize_size}], got "
                f"{image_size}.",
                parameter="image_size",
            )
        if num_views is not None:
            check_count("num_views", num_views, parameter="num_views", alternative="null")
        if not isinstance(min_area, int | float) or not 0 < min_area <= 1:
            raise InputError(f"min_area must be in (0, 1], got {min_area!r}.", parameter="min_area")
        check_choice("crop", crop, CROPS)
        check_choice("interpolation", interpolation, INTERPOLATIONS)
        self.image_size = image_size
        self.resize_size = resize_size
        self.crop = crop
        self.interpolation = interpolation
        self.min_area = min_area
        self.augment = augment
        self.num_views = num_views if augment else 1
        self.features: CachedFeatures | None = None
        mode = v2.InterpolationMode(interpolation)
        if not augment:
            steps = [v2.Resize(resize_size, interpolation=mode), v2.CenterCrop(image_size)]
        elif crop == "resized":
            steps = [v2.RandomResizedCrop(image_size, scale=(min_area, 1.0), interpolation=mode)]
        else:
            steps = [v2.Resize(resize_size, interpolation=mode), v2.RandomCrop(image_size)]
        if augment:
            steps.append(v2.RandomHorizontalFlip())
        self._transform = v2.Compose([*steps, v2.PILToTensor()])
        self.description = " ".join(str(self._transform).split())

    def __call__(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return ``image`` (3, image_size, image_size), uint8, beside the record's entries.

        With ``features``, ``tokens`` (T, D), bfloat16, in its place.

        Raises:
            InputError: the image cannot be read.
        """
        return self.make_view(record, self.draw_view())

    def draw_view(self) -> int | None:
        """Return which of the fixed views a sample shows; None where views are not fixed."""
        if self.num_views is None:
            return None
        return int(torch.randint(self.num_views, ()))

    def make_view(self, record: dict[str, Any], view: int | None) -> dict[str, Any]:
        """Return the sample of a fixed view, or with None that of a new random one."""
        if self.features is not None and view is not None:
            return {**record, "tokens": self.features.read(record["image_id"], view)}
        image = read_rgb(record["file_name"])
        if view is None or not self.augment:
            return {**record, "image": self.crop_image(image)}
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(_view_seed(record["image_id"], view))
            return {**record, "image": self.crop_image(image)}

    def crop_image(self, image: np.ndarray) -> Tensor:
        """Return an image (H, W, 3), RGB, uint8, cropped: (3, image_size, image_size), uint8."""
        return self._transform(Image.fromarray(image))


def _view_seed(image_id: str, view: int) -> int:
    return zlib.crc32(f"{view}/{image_id}".encode("utf-8", "surrogateescape"))
