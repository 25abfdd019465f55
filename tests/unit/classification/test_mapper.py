"""Classification mapper: samples are those of the published code, fixed views are fixed."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms as v1

from bpt_det.classification.mapper import ClassificationMapper
from bpt_det.utils.errors import InputError


@pytest.fixture
def record(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "bird.png")
    return {"file_name": str(tmp_path / "bird.png"), "label": 4, "image_id": "a/bird.png"}


def test_evaluation_resizes_the_shorter_side_and_cuts_the_center(record):
    sample = ClassificationMapper(24, 32, augment=False)(record)
    resized = Image.open(record["file_name"]).resize((45, 32), Image.Resampling.BICUBIC)
    # torchvision rounds the corner of the center: (45 - 24) / 2 = 10.5 becomes 10
    expected = np.asarray(resized)[4:28, 10:34]
    assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), expected)
    assert sample["image"].dtype == torch.uint8
    assert (sample["label"], sample["image_id"]) == (4, "a/bird.png")


def test_training_draws_the_crops_of_the_published_code(record):
    """WangYZ1608/BPT@9fc3c78 Dataset/FGVC.py: RandomResizedCrop, bicubic, then a flip."""
    published = v1.Compose(
        [
            v1.RandomResizedCrop(24, interpolation=v1.InterpolationMode.BICUBIC),
            v1.RandomHorizontalFlip(0.5),
            v1.PILToTensor(),
        ]
    )
    mapper = ClassificationMapper(24, 32)
    seen = []
    for seed in range(8):
        torch.manual_seed(seed)
        image = mapper(record)["image"]
        torch.manual_seed(seed)
        assert torch.equal(image, published(Image.open(record["file_name"])))
        seen.append(image)
    assert not torch.equal(seen[0], seen[1])


def test_fixed_views_are_the_same_every_time_and_differ_from_each_other(record):
    mapper = ClassificationMapper(24, 32, num_views=3)
    views = [mapper.make_view(record, view)["image"] for view in range(3)]
    torch.rand(7)  # another state of the generator
    assert all(torch.equal(mapper.make_view(record, i)["image"], v) for i, v in enumerate(views))
    assert not torch.equal(views[0], views[1]) and not torch.equal(views[1], views[2])
    other = {**record, "image_id": "b/bird.png"}
    assert not torch.equal(mapper.make_view(other, 0)["image"], views[0])


def test_every_sample_is_one_of_the_fixed_views_and_each_of_them_is_drawn(record):
    mapper = ClassificationMapper(24, 32, num_views=3)
    views = [mapper.make_view(record, view)["image"] for view in range(3)]
    drawn = [mapper(record)["image"] for _ in range(40)]
    indexes = [[torch.equal(image, view) for view in views].index(True) for image in drawn]
    assert set(indexes) == {0, 1, 2}


def test_a_fixed_view_leaves_the_random_generator_as_it_was(record):
    mapper = ClassificationMapper(24, 32, num_views=3)
    before = torch.get_rng_state()
    mapper.make_view(record, 1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 33, "resize_size": 32}, r"integer in \[1, .*=32\], got 33"),
        ({"image_size": 0}, r"image_size must be an integer in \[1, .*=256\], got 0"),
        ({"image_size": 64.5}, r"image_size must be an integer .*=256\], got 64.5"),
        ({"num_views": 0}, "num_views must be an integer >= 1, or null, got 0"),
    ],
)
def test_sizes_and_views_that_cannot_be_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        ClassificationMapper(**settings)
