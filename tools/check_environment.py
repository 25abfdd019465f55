"""Check that OpenCV, which depends on system libraries, can be imported.

Example: python tools/check_environment.py
"""

import argparse
import sys
from collections.abc import Callable, Sequence


def import_cv2() -> None:
    import cv2  # noqa: F401


def opencv_problem(load: Callable[[], None] = import_cv2) -> str | None:
    """Return why OpenCV cannot be imported and the next step; None if it can be imported."""
    try:
        load()
    except ImportError as error:
        if "lib" not in str(error):
            return f"OpenCV cannot be imported ({error}): pip install opencv-python"
        return (
            f"OpenCV lacks a system library ({error}). Use the build without windows instead: "
            "make setup OPENCV=opencv-python-headless (without make: "
            "pip uninstall -y opencv-python && pip install opencv-python-headless)"
        )
    return None


def build_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def main(argv: Sequence[str] | None = None) -> int:
    build_parser().parse_args(argv)
    problem = opencv_problem()
    if problem is not None:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
