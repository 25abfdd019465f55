"""The package itself: the folder of its configs, and the build of OpenCV that it needs."""

from pathlib import Path

# All have the module cv2, so one alone should be installed.
OPENCV_BUILDS = (
    "opencv-python-headless",  # what bpt_det requires: it needs no system library
    "opencv-python",
    "opencv-contrib-python-headless",
    "opencv-contrib-python",
)
USE_HEADLESS = f"pip uninstall -y {' '.join(OPENCV_BUILDS)} && pip install {OPENCV_BUILDS[0]}"


def config_folder() -> Path:
    """Return the folder of the configs that come with bpt_det: a checkout's, or the package's."""
    package = Path(__file__).parents[1]
    checkout = package.parent / "configs"
    return checkout if (checkout / "methods").is_dir() else package / "configs"
