"""Folders that tests read: the repository, and sample data outside of it where they are there."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
SAMPLE_DATA = "BPT_DET_SAMPLE_DATA"  # names a folder with datasets/ and weights/


def sample_path(path: str) -> Path:
    """Return a file or folder of the sample data, or skip the test where it is absent."""
    folder = os.environ.get(SAMPLE_DATA)
    if folder and (Path(folder) / path).exists():
        return Path(folder).resolve() / path
    pytest.skip(f"no {path} here; {SAMPLE_DATA} names the folder that holds the sample data")
