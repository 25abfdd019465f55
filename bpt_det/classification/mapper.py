"""Classification mapper: from a record of a dataset to the sample that a classifier takes."""

import zlib
from typing import Any

import torch
from PIL import Image
from torchvision.transforms import v2

from bpt_det.data.images import read_stored
from bpt_det.utils.errors import InputError, check_count

from .token_store import CachedFeatures


class ClassificationMapper:
    """Reads an image and crops it; random choices come from torch's global generator.

    Training crops a random part (``min_area`` to all of the area) and flips it by chance; otherwise
    the shorter side is resized and the center cut out. Both resize bicubically, with Pillow, as the
    published code does (WangYZ1608/BPT@9fc3c78 Dataset/FGVC.py).

    Args:
        image_size: side of the crop in pixels.
        resize_size: shorter side in pixels before the center is cut out.
        augment: whether to crop and flip by chance.
        min_area: least share of the area of a random crop, in (0, 1].
        num_views: so many fixed random crops of each image, of which every call takes one; they
            depend on the image's id alone. None: another crop every time.

    Attributes:
        description: text that tells one way of making views from another.
        features: what stands in for the images of the fixed views, see `FeatureCache`; None: the
            images are read.

    Raises:
        InputError: a size is not positive, or the crop is larger than what it is cut out of.
    """

    def __init__(
        self,
        image_size: int = 224,
        resize_size: int = 256,
        *,
        augment: bool = True,
        min_area: float = 0.08,
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
        self.image_size = image_size
        self.resize_size = resize_size
        self.min_area = min_area
        self.augment = augment
        self.num_views = num_views if augment else 1
        self.features: CachedFeatures | None = None
        bicubic = v2.InterpolationMode.BICUBIC
        if augment:
            crop = [
                v2.RandomResizedCrop(image_size, scale=(min_area, 1.0), interpolation=bicubic),
                v2.RandomHorizontalFlip(),
            ]
        else:
            crop = [v2.Resize(resize_size, interpolation=bicubic), v2.CenterCrop(image_size)]
        self._transform = v2.Compose([*crop, v2.PILToTensor()])
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
        image = Image.fromarray(read_stored(record["file_name"]))
        if view is None or not self.augment:
            return {**record, "image": self._transform(image)}
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(_view_seed(record["image_id"], view))
            return {**record, "image": self._transform(image)}


def _view_seed(image_id: str, view: int) -> int:
    return zlib.crc32(f"{view}/{image_id}".encode())
