"""Fixtures shared by all tests. Nothing here needs a network or a GPU."""

import logging
import os
from pathlib import Path

import pytest
import torch
from detectron2.utils.logger import setup_logger

from bpt_det.shapes import write_shapes
from tests.support.paths import ROOT, sample_path


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
def mae_tiny_path() -> Path:
    """A real MAE checkpoint of a small ViT, or skip."""
    return sample_path("weights/mae_tiny_patch8_64.pth")


@pytest.fixture(scope="session")
def shapes_root(tmp_path_factory) -> Path:
    """A rendered shapes dataset: 12 training and 6 validation images of at most 64 pixels."""
    root = tmp_path_factory.mktemp("data") / "shapes"
    write_shapes(root, num_train=12, num_val=6, image_size=64, seed=3)
    return root


@pytest.fixture
def loggers_of_its_own():
    """Detectron2's loggers keep the captured stdout of the test that first used them."""
    yield
    for name in ("detectron2", "fvcore", "bpt_det"):
        logging.getLogger(name).handlers.clear()
    setup_logger.cache_clear()


@pytest.fixture(autouse=True)
def _fixed_seed():
    """Tests draw from the same global generator whatever ran before them."""
    torch.manual_seed(0)
