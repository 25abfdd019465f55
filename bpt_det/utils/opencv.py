"""OpenCV import, with an error that says how to get the build that needs no system library."""

import re

from bpt_det.utils.package import USE_HEADLESS

try:
    import cv2
except ImportError as error:
    # "recursion" is what a second attempt raises after the first has failed.
    if not re.search(r"\blib[\w.-]+\.so|recursion is detected", str(error)):
        raise
    raise ImportError(
        f"OpenCV needs a system library that is missing here ({error}); use the build that does "
        f"not: {USE_HEADLESS}"
    ) from error

__all__ = ["cv2"]
