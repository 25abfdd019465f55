"""Markers, profiles and fixtures of all tests. Nothing here needs a network or a GPU.

Heavy packages are imported where they are used: the process that only hands out tests to others
(pytest-xdist) reads this file too.
"""

import os
from pathlib import Path

import hypothesis
import pytest

from tests.support.paths import ROOT, sample_path

# One thread per process, set before PyTorch is imported; the processes that tests start inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples in every run, and no time limit for one: machines differ.
hypothesis.settings.register_profile("few", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.register_profile("many", deadline=None, derandomize=True, max_examples=500)
hypothesis.settings.load_profile("few")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and skip those that need a GPU where there is none."""
    for item in items:
        folder = item.path.relative_to(ROOT / "tests").parts[0]
        if folder in ("e2e", "parity"):
            item.add_marker(folder)
        if item.get_closest_marker("gpu") and not has_gpu():
            item.add_marker(pytest.mark.skip(reason="no GPU"))


def has_gpu() -> bool:
    """Whether PyTorch sees a GPU."""
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def repository_root() -> Path:
    """Folder that holds bpt_det/, configs/ and tools/."""
    return ROOT


@pytest.fixture(scope="session")
def coco_root() -> Path:
    """A folder ``coco`` in COCO's layout with real photographs, or skip."""
    annotations = "coco/annotations/instances_val2017.json"
    datasets = os.environ.get("DETECTRON2_DATASETS")
    if datasets and (Path(datasets) / annotations).is_file():
        return Path(datasets) / "coco"
    return sample_path(f"datasets/{annotations}").parents[1]


@pytest.fixture(scope="session")
def cub_root() -> Path:
    """A folder with images in CUB-200-2011's layout, or skip."""
    return sample_path("datasets/CUB_200_2011/train.json").parent


@pytest.fixture(scope="session")
def mae_tiny_path() -> Path:
    """A real MAE checkpoint of a small ViT, or skip."""
    return sample_path("weights/mae_tiny_patch8_64.pth")


@pytest.fixture(scope="session")
def shapes_root(tmp_path_factory) -> Path:
    """A rendered shapes dataset: 12 training and 6 validation images of at most 64 pixels."""
    from bpt_det.shapes import write_shapes

    root = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(root, num_train=12, num_val=6, image_size=64, seed=3)
    return root


@pytest.fixture(autouse=True)
def _fixed_state():
    """Global state that earlier tests may have changed."""
    import torch

    torch.manual_seed(0)
