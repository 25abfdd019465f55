"""Paths of data as they are written into a saved config."""

import os


def absolute_path(path: str) -> str:
    """Return a path that a saved config finds from any folder."""
    return os.path.abspath(os.path.expanduser(path))
