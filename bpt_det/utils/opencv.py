"""OpenCV import, with an error that says how to get the build that needs no system library.

That build, `opencv-python-headless`, is what bpt_det requires. Where `opencv-python` is installed
too, as other packages ask for it, the two overwrite each other's files.
"""

import re

USE_HEADLESS = (
    "pip uninstall -y opencv-python opencv-python-headless && pip install opencv-python-headless"
)

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

__all__ = ["USE_HEADLESS", "cv2"]
