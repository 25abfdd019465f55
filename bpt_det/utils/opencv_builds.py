"""Builds of OpenCV: all have the module cv2, so one alone should be installed."""

OPENCV_BUILDS = (
    "opencv-python-headless",  # what bpt_det requires: it needs no system library
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)
USE_HEADLESS = f"pip uninstall -y {' '.join(OPENCV_BUILDS)} && pip install {OPENCV_BUILDS[0]}"
