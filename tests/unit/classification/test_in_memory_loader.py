"""In-memory loader: training images are decoded once and cropped on their device."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bpt_det.classification import ClassificationMapper, in_memory_loader
from bpt_det.classification.in_memory_loader import InMemoryLoader, build_train_loader
from bpt_det.engine import TestLoader, TrainLoader
from bpt_det.utils.errors import InputError

CENTRAL = ClassificationMapper(16, 20, augment=False)
RANDOM = ClassificationMapper(16, 20, min_area=0.3)


@pytest.fixture
def records(tmp_path: Path) -> list[dict]:
    """Return records of seven images of two sizes."""
    random = np.random.default_rng(0)
    written = []
    for i in range(7):
        path = tmp_path / f"{i}.png"
        shape = (30, 40 if i % 2 else 25, 3)
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(path)
        written.append({"file_name": str(path), "image_id": f"{i}.png", "label": i})
    return written


def take(loader: TrainLoader, count: int) -> list[list[dict]]:
    return list(itertools.islice(loader, count))


def test_without_augmentation_samples_are_those_of_the_other_loader(records: list[dict]) -> None:
    kept = take(build_train_loader(records, CENTRAL, 3, seed=4, in_memory=True, device="cpu"), 5)
    read = take(build_train_loader(records, CENTRAL, 3, seed=4), 5)
    for ours, theirs in zip(itertools.chain(*kept), itertools.chain(*read), strict=True):
        assert (ours["image_id"], ours["label"]) == (theirs["image_id"], theirs["label"])
        assert ours["image"].dtype == torch.uint8
        assert (ours["image"].int() - theirs["image"].int()).abs().max() <= 1


def test_the_stream_can_start_anywhere(records: list[dict]) -> None:
    def batches(start: int, count: int) -> list[list[dict]]:
        loader = InMemoryLoader(records, RANDOM, 3, seed=4)
        loader.start_batch = start
        return take(loader, count)

    whole, rest = batches(0, 6), batches(4, 2)
    for ours, theirs in zip(itertools.chain(*whole[4:]), itertools.chain(*rest), strict=True):
        assert ours["image_id"] == theirs["image_id"]
        assert torch.equal(ours["image"], theirs["image"])


def test_crops_differ_between_epochs_and_seeds(records: list[dict]) -> None:
    def first_image_crops(seed: int) -> list[torch.Tensor]:
        samples = itertools.chain(*take(InMemoryLoader(records, RANDOM, 7, seed=seed), 3))
        return [sample["image"] for sample in samples if sample["image_id"] == "0.png"]

    crops = first_image_crops(1)
    assert len(crops) == 3
    assert not torch.equal(crops[0], crops[1])
    assert not torch.equal(crops[0], first_image_crops(2)[0])


def test_every_file_is_read_once(records: list[dict], monkeypatch: pytest.MonkeyPatch) -> None:
    names = []
    real = in_memory_loader.read_rgb

    def read(name: str) -> np.ndarray:
        names.append(name)
        return real(name)

    monkeypatch.setattr(in_memory_loader, "read_rgb", read)
    take(InMemoryLoader(records, RANDOM, 7, num_workers=2), 4)
    assert sorted(names) == sorted(record["file_name"] for record in records)


def test_evaluation_samples_are_mapped_once(records: list[dict]) -> None:
    mapped = []

    def mapper(record: dict) -> dict:
        mapped.append(record["label"])
        return record

    loader = TestLoader(records, mapper, batch_size=3, in_memory=True)
    next(iter(loader))  # an evaluation that ends early keeps nothing
    mapped.clear()
    assert [list(loader), list(loader)] == [list(loader)] * 2
    assert mapped == list(range(7))
    again = TestLoader(records, mapper, batch_size=3)
    assert [list(again), list(again)] == [list(loader)] * 2
    assert mapped == list(range(7)) * 3


def test_fixed_views_are_refused(records: list[dict]) -> None:
    with pytest.raises(InputError, match=r"in_memory=True draws new crops each time.* num_views=2"):
        InMemoryLoader(records, ClassificationMapper(16, 20, num_views=2), 2)


def test_images_that_do_not_fit_are_refused(
    records: list[dict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_memory_loader, "available_memory", lambda: 10_000)
    with pytest.raises(InputError, match=r"^7 images .* set in_memory=False\.$"):
        take(InMemoryLoader(records, RANDOM, 2), 1)


def test_in_memory_must_be_a_bool(records: list[dict]) -> None:
    with pytest.raises(InputError, match="in_memory must be True or False, got 'yes'"):
        build_train_loader(records, RANDOM, 2, in_memory="yes")
