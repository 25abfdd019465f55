"""Crops made in one pass against torchvision's transforms on Pillow images."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from bpt_det.classification.batch_crops import (
    Windows,
    central_windows,
    draw_windows,
    resample,
    stack_padded,
)

BICUBIC = v2.InterpolationMode.BICUBIC
SIZES = ((37, 53), (64, 64), (150, 41), (20, 90))  # height, width


def make_images(sizes: tuple = SIZES) -> list[torch.Tensor]:
    """Return images with noise and an edge."""
    random = np.random.default_rng(0)
    images = []
    for height, width in sizes:
        image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        image[: height // 2, : width // 3] = (250, 3, 128)
        images.append(torch.from_numpy(image).permute(2, 0, 1).contiguous())
    return images


def with_pillow(image: torch.Tensor, transform: v2.Transform) -> torch.Tensor:
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    return v2.functional.pil_to_tensor(transform(picture))


def assert_alike(got: torch.Tensor, expected: torch.Tensor, *, is_width_first: bool) -> None:
    """Within one level, or rarely more: Pillow 13 may shrink the height first, and rounds twice."""
    difference = (got.int() - expected.int()).abs()
    if is_width_first:
        assert difference.max() <= 1
        assert (difference > 0).float().mean() < 0.02
    else:
        assert difference.float().mean() < 0.5
        assert (difference > 1).float().mean() < 0.02


@pytest.mark.parametrize(("resize_size", "size"), [(24, 20), (20, 20), (96, 64)])
def test_centers_are_torchvisions(resize_size: int, size: int) -> None:
    images = make_images()
    sizes = np.array([image.shape[1:] for image in images])
    windows = central_windows(sizes, size, resize_size)
    got = resample(stack_padded(images), *windows, size, np.zeros(len(images), dtype=bool))
    transform = v2.Compose([v2.Resize(resize_size, interpolation=BICUBIC), v2.CenterCrop(size)])
    for crop, image in zip(got, images, strict=True):
        expected = with_pillow(image, transform)
        is_square = image.shape[1] == image.shape[2]
        assert_alike(crop, expected, is_width_first=is_square)


@pytest.mark.parametrize("size", [8, 32, 100])
def test_parts_are_resized_as_pillow_does(size: int) -> None:
    images = make_images()
    boxes = [(3, 5, 30, 21), (0, 0, 64, 64), (100, 1, 50, 40), (2, 60, 17, 30)]  # y x height width
    top, left, height, width = (np.array(values) for values in zip(*boxes, strict=True))
    rows = Windows(top, height / size, top, top + height)
    columns = Windows(left, width / size, left, left + width)
    is_flipped = np.array([False, True, True, False])
    got = resample(stack_padded(images), rows, columns, size, is_flipped)
    for crop, image, box, flip in zip(got, images, boxes, is_flipped, strict=True):
        expected = with_pillow(
            image,
            lambda picture, box=box: v2.functional.resized_crop(
                picture, *box, [size, size], interpolation=BICUBIC
            ),
        )
        is_width_first = box[3] >= box[2] or box[2] <= size
        assert_alike(crop, expected.flip(2) if flip else expected, is_width_first=is_width_first)


def test_drawn_parts_are_distributed_as_torchvisions() -> None:
    torch.manual_seed(0)
    count, size, min_area = 4000, 16, 0.1
    for height, width in ((60, 90), (30, 200)):  # of the second one few parts fit
        transform = v2.RandomResizedCrop(size, scale=(min_area, 1.0))
        image = torch.empty(3, height, width)
        drawn = [transform.make_params([image]) for _ in range(count)]
        names = ("top", "left", "height", "width")
        theirs = np.array([[crop[name] for name in names] for crop in drawn])
        sizes = np.tile([height, width], (count, 1))
        rows, columns = draw_windows(sizes, size, min_area, np.random.default_rng(0))
        ours = np.stack(
            [rows.low, columns.low, rows.high - rows.low, columns.high - columns.low], axis=1
        )
        assert (rows.low >= 0).all() and (rows.high <= height).all()
        assert (columns.low >= 0).all() and (columns.high <= width).all()
        for quantile in (0.05, 0.25, 0.5, 0.75, 0.95):
            difference = np.quantile(ours, quantile, axis=0) - np.quantile(theirs, quantile, axis=0)
            assert np.abs(difference).max() <= 0.03 * width


def test_no_part_fits_so_the_largest_allowed_one_is_taken() -> None:
    sizes = np.array([[10, 1000], [1000, 10]])
    rows, columns = draw_windows(sizes, 8, 0.9, np.random.default_rng(0))
    assert (rows.high - rows.low).tolist() == [10, 13]
    assert (columns.high - columns.low).tolist() == [13, 10]
    assert columns.low[0] == (1000 - 13) // 2
    assert rows.low[1] == (1000 - 13) // 2


def test_images_of_one_size_are_stacked_as_they_are() -> None:
    images = make_images(((20, 90), (20, 90)))
    assert torch.equal(stack_padded(images), torch.stack(images))


def test_padding_keeps_the_images() -> None:
    images = make_images()
    padded = stack_padded(images)
    assert padded.shape == (4, 3, 150, 90)
    for kept, image in zip(padded, images, strict=True):
        assert torch.equal(kept[:, : image.shape[1], : image.shape[2]], image)
        assert kept[:, image.shape[1] :].sum() == 0
