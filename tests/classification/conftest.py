"""Fixtures of classification: real images."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2].parent / "shared"


@pytest.fixture(scope="session")
def cub_root() -> Path:
    """A folder with images in CUB-200-2011's layout, or skip."""
    path = SHARED / "datasets/CUB_200_2011"
    if not (path / "train.json").is_file():
        pytest.skip("no CUB-200-2011 beside the project")
    return path
