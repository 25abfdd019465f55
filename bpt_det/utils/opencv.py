"""OpenCV import, with an error that names the build to install instead."""

import re

try:
    import cv2
except ImportError as error:
    # "recursion" is what a second attempt raises after the first has failed.
    if not re.search(r"\blib[\w.-]+\.so|recursion is detected", str(error)):
        raise
    raise ImportError(
        f"opencv-python needs a system library that is missing here ({error}); replace it with the "
        "build that does not: pip uninstall -y opencv-python && pip install opencv-python-headless"
    ) from error

__all__ = ["cv2"]
