"""OpenCV, with an import error that says what to do about it."""

try:
    import cv2
except ImportError as error:
    if "libGL" not in str(error) and "libgthread" not in str(error):
        raise
    raise ImportError(
        f"opencv-python needs a system library that is missing here ({error}); replace it with the "
        "build that does not: pip uninstall -y opencv-python && pip install opencv-python-headless"
    ) from error

__all__ = ["cv2"]
