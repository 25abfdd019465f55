"""Fixtures of classification: real images."""

from pathlib import Path

import pytest

from tests.support.paths import sample_path


@pytest.fixture(scope="session")
def cub_root() -> Path:
    """A folder with images in CUB-200-2011's layout, or skip."""
    return sample_path("datasets/CUB_200_2011/train.json").parent
