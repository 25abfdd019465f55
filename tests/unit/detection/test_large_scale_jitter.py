"""Every claim is against Detectron2's own two augmentations, with the same random draws."""

import cv2
import detectron2.data.transforms as T
import numpy as np
import pytest
import torch
from detectron2.config import instantiate
from detectron2.data import DatasetMapper
from detectron2.data.datasets import load_coco_json
from detectron2.structures import BitMasks
from PIL import Image

from bpt_det.config import load_config
from bpt_det.detection import ImageNamingMapper, LargeScaleJitter
from bpt_det.detection.large_scale_jitter import ResizeCropTransform
from bpt_det.utils.errors import InputError

HEIGHT, WIDTH, SIZE = 57, 83, 64
SMALLER, LARGER = (0.2, 0.9), (1.1, 2.5)


def noise(height=HEIGHT, width=WIDTH):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def smooth():
    return cv2.GaussianBlur(noise(), (0, 0), 3)


def theirs(scales, size=SIZE):
    return [T.ResizeScale(*scales, size, size), T.FixedSizeCrop((size, size), pad=False)]


def ours(scales, size=SIZE):
    return [LargeScaleJitter(*scales, size)]


def transform(augmentations, image, seed):
    """Return the picture and the transforms."""
    np.random.seed(seed)
    augmented = T.AugInput(image)
    transforms = T.AugmentationList(augmentations)(augmented)
    return augmented.image, transforms


def difference(image, scales, seed, size=SIZE):
    """Return by how many gray levels each value differs, after checking that the sizes do not."""
    expected, _ = transform(theirs(scales, size), image, seed)
    picture, _ = transform(ours(scales, size), image, seed)
    assert picture.shape == expected.shape
    assert picture.dtype == expected.dtype
    return np.abs(picture.astype(int) - expected.astype(int))


def test_as_many_random_numbers_are_drawn():
    transform(theirs(LARGER), noise(), seed=3)
    expected = np.random.rand()
    transform(ours(LARGER), noise(), seed=3)
    assert np.random.rand() == expected


@pytest.mark.parametrize("scales", [SMALLER, LARGER])
@pytest.mark.parametrize("image", [noise(), smooth()], ids=["noise", "smooth"])
@pytest.mark.parametrize("steps", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_a_picture_differs_by_at_most_one_gray_level(image, scales, steps):
    """Flipped images are views that run backwards."""
    mirrored = image[:: steps[0], :: steps[1]]
    assert max(difference(mirrored, scales, seed).max() for seed in range(30)) <= 1


def test_a_picture_in_bgr_differs_by_at_most_one_gray_level():
    reversed_channels = noise()[:, :, ::-1]
    assert max(difference(reversed_channels, (0.3, 2.5), seed).max() for seed in range(30)) <= 1


def test_a_scale_of_about_1_is_no_exception():
    """Where a part of the image would keep its number of pixels, though the whole does not."""
    near = (WIDTH / SIZE * 0.97, WIDTH / SIZE * 1.03)
    assert max(difference(noise(), near, seed).max() for seed in range(150)) <= 1


@pytest.mark.parametrize("image", [noise()[:, :, 0], noise()[:, :, :1], noise().astype(np.float32)])
def test_what_is_no_color_picture_of_8_bits_does_not_differ(image):
    assert max(difference(image, (0.3, 2.5), seed).max() for seed in range(10)) == 0


def test_images_of_any_size_keep_the_sizes_and_the_picture():
    generator = np.random.default_rng(0)
    for seed in range(300):
        height, width, size = generator.integers(8, 70, 3)
        image = noise(height, width)
        assert difference(image, (0.3, 2.5), seed, int(size)).max() <= 1


def test_a_picture_smaller_than_the_crop_is_not_padded():
    picture, _ = transform(ours((0.5, 0.5)), noise(), seed=0)
    assert picture.shape == (round(HEIGHT * SIZE / WIDTH / 2), SIZE // 2, 3)


def test_a_picture_larger_than_the_crop_has_its_size():
    picture, _ = transform(ours((2.0, 2.0)), noise(), seed=0)
    assert picture.shape == (SIZE, SIZE, 3)


def test_a_picture_is_laid_out_as_a_mapper_wants_it():
    picture, _ = transform(ours(LARGER), noise(), seed=0)
    assert picture.transpose(2, 0, 1).flags.c_contiguous


def star(generator):
    """Return a polygon, (N, 2), of which some cross themselves or reach over the image."""
    number = generator.integers(3, 9)
    angles = np.sort(generator.uniform(0, 2 * np.pi, number))
    if generator.random() < 0.3:
        generator.shuffle(angles)
    radii = generator.uniform(2, 25, (number, 1))
    center = generator.uniform((0, 0), (WIDTH, HEIGHT))
    return center + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def rasterize(polygons):
    masks = [BitMasks.from_polygon_masks([[p.reshape(-1)]], SIZE, SIZE).tensor for p in polygons]
    return torch.stack(masks).any(0) if masks else torch.zeros(1, SIZE, SIZE, dtype=torch.bool)


@pytest.mark.parametrize("scales", [SMALLER, LARGER])
def test_polygons_do_not_differ(scales):
    generator = np.random.default_rng(0)
    for seed in range(200):
        polygon = star(generator)
        _, expected = transform(theirs(scales), noise(), seed)
        _, transforms = transform(ours(scales), noise(), seed)
        expected = expected.apply_polygons([polygon.copy()])
        polygons = transforms.apply_polygons([polygon.copy()])
        assert len(polygons) == len(expected)
        for polygon, other in zip(polygons, expected, strict=True):
            assert (polygon.min(axis=0) == other.min(axis=0)).all()
            assert (polygon.max(axis=0) == other.max(axis=0)).all()
        assert torch.equal(rasterize(polygons), rasterize(expected))


def test_a_polygon_that_touches_the_crop_from_outside_is_dropped():
    """The crop is the left half of what is 128 pixels wide; the polygon begins where it ends."""
    resize, crop = T.ResizeTransform(32, 64, 64, 128), T.CropTransform(0, 0, 64, 64)
    polygon = np.array([[32.0, 5], [45, 5], [45, 20]])
    assert T.TransformList([resize, crop]).apply_polygons([polygon.copy()]) == []
    assert ResizeCropTransform(resize, crop).apply_polygons([polygon]) == []


@pytest.mark.parametrize("scales", [SMALLER, LARGER])
def test_boxes_points_and_labels_do_not_differ(scales):
    boxes = np.array([[1.5, 2, 30, 40], [0, 0, WIDTH, HEIGHT]])
    labels = noise()[:, :, 0] // 64
    for seed in range(20):
        _, expected = transform(theirs(scales), noise(), seed)
        _, transforms = transform(ours(scales), noise(), seed)
        assert (transforms.apply_box(boxes) == expected.apply_box(boxes)).all()
        points = boxes.reshape(-1, 2)
        assert (
            transforms.apply_coords(points.copy()) == expected.apply_coords(points.copy())
        ).all()
        assert (transforms.apply_segmentation(labels) == expected.apply_segmentation(labels)).all()


def test_an_image_too_thin_to_be_resized_is_named_with_its_size(tmp_path):
    path = tmp_path / "thin.png"
    Image.new("RGB", (300, 1)).save(path)
    mapper = ImageNamingMapper(is_train=True, augmentations=ours((0.1, 0.1)), image_format="RGB")
    with pytest.raises(InputError) as caught:
        mapper({"file_name": str(path), "height": 1, "width": 300})
    assert "of 1 x 300 pixels and its annotations cannot be used (ValueError: 1 x 300" in str(
        caught.value
    )
    assert "pixels would become 0 x 6; height and width must be above 0." in str(caught.value)


@pytest.mark.parametrize("scales", [(0.0, 1.0), (2.0, 1.0), (float("nan"), 1.0)])
def test_a_range_of_scales_that_cannot_be_drawn_from_is_refused(scales):
    with pytest.raises(ValueError, match=r"min_scale must be above 0 and at most max_scale, got"):
        LargeScaleJitter(*scales, SIZE)


def test_a_crop_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"size must be at least 1 pixel, got 0\."):
        LargeScaleJitter(0.5, 1.0, 0)


def test_it_names_its_settings():
    assert str(LargeScaleJitter(0.1, 2.0, 64)) == (
        "LargeScaleJitter(min_scale=0.1, max_scale=2.0, size=64)"
    )


def test_the_configs_use_it_with_their_own_size(monkeypatch, repository_root):
    monkeypatch.chdir(repository_root)
    cfg = load_config("configs/coco/cascade_bpt_s.py", ["dataloader.image_size=96"])
    jitter = instantiate(cfg.dataloader.train.mapper.augmentations[1])
    assert isinstance(jitter, LargeScaleJitter)
    assert (jitter.min_scale, jitter.max_scale, jitter.size) == (0.1, 2.0, 96)


@pytest.fixture(scope="module")
def photographs(coco_root):
    """Records of 12 real photographs, of those with the most objects."""
    path = coco_root / "annotations/instances_val2017.json"
    records = load_coco_json(str(path), str(coco_root / "val2017"))
    return sorted(records, key=lambda record: -len(record["annotations"]))[:12]


@pytest.mark.parametrize("mask_format", ["polygon", "bitmask"])
def test_real_photographs_are_mapped_as_detectron2_maps_them(photographs, mask_format):
    size, flip = 256, T.RandomFlip(horizontal=True)
    settings = {"image_format": "RGB", "use_instance_mask": True, "recompute_boxes": True}
    settings |= {"is_train": True, "instance_mask_format": mask_format}
    slow = DatasetMapper(augmentations=[flip, *theirs((0.1, 2.0), size)], **settings)
    fast = ImageNamingMapper(augmentations=[flip, *ours((0.1, 2.0), size)], **settings)
    for seed, record in enumerate(photographs):
        np.random.seed(seed)
        expected = slow(record)
        np.random.seed(seed)
        mapped = fast(record)
        levels = (mapped["image"].int() - expected["image"].int()).abs()
        assert levels.max() <= 1
        actual, expected = mapped["instances"], expected["instances"]
        assert torch.equal(actual.gt_boxes.tensor, expected.gt_boxes.tensor)
        assert torch.equal(actual.gt_classes, expected.gt_classes)
        assert torch.equal(as_bits(actual), as_bits(expected))


def as_bits(instances):
    masks = instances.gt_masks
    if isinstance(masks, BitMasks):
        return masks.tensor
    return BitMasks.from_polygon_masks(masks, *instances.image_size).tensor
