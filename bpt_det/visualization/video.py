"""Video files: reader and writer, frame by frame. Frames are RGB arrays (H, W, 3), uint8."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bpt_det.utils.errors import InputError
from bpt_det.utils.opencv import cv2

VIDEO_SUFFIXES = (".avi", ".mkv", ".mov", ".mp4")
_DEFAULT_FPS = 25.0  # of files that do not state theirs

# FFmpeg would print lines of its own about a broken file; our errors say what matters.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

logger = logging.getLogger(__name__)


class VideoReader:
    """Reads every n-th frame of a video file, starting with the first.

    Args:
        path: of the file.
        every: n, an integer >= 1; 1 reads all frames.

    Attributes:
        fps: of the frames that are read, in 1/s.
        num_frames: how many will be read as far as the file says; 0 if it does not.

    Raises:
        InputError: OpenCV cannot open it.
    """

    def __init__(self, path: str, every: int = 1) -> None:
        self.path = path
        self.every = every
        self._capture = cv2.VideoCapture(path)
        if not self._capture.isOpened():
            raise InputError(
                f"video '{path}' cannot be read; restore the file, or convert it to another format."
            )
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = (fps if 0 < fps < 1000 else _DEFAULT_FPS) / every
        self._stated = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.num_frames = -(-self._stated // every)

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (frame number counted from 0, frame); once.

        Raises:
            InputError: there is no frame at all.
        """
        number = 0
        try:
            while self._capture.grab():
                if number % self.every == 0:
                    is_decoded, frame = self._capture.retrieve()
                    if not is_decoded:
                        break
                    yield number, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                number += 1
        finally:
            self._capture.release()
        if not number:
            raise InputError(f"video '{self.path}' holds no frame that can be read.")
        if self._stated - number > self.fps * self.every:  # a second; what is stated is rounded
            logger.warning(
                "video '%s' ends after %d of %d frames; it may be truncated or damaged",
                self.path,
                number,
                self._stated,
            )


class VideoWriter:
    """Writes frames of one size as MPEG-4; use it in a ``with`` statement.

    The file appears when the block ends, and not at all if it fails. MPEG-4 has even sides only:
    of an odd one the last row or column is cut off.

    Args:
        path: of the file; ends in ``.mp4``.
        fps: frames per second.
        size: (H, W) of the frames.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        self.path = path
        self._partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
        codec = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(self._partial), codec, fps, size[::-1])
        if not self._writer.isOpened():
            self._partial.unlink(missing_ok=True)
            raise self._failure()

    def __enter__(self) -> "VideoWriter":
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append a frame."""
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def __exit__(self, error_type: type | None, *error) -> None:
        self._writer.release()
        try:
            if error_type is None:
                if not cv2.VideoCapture(str(self._partial)).isOpened():
                    raise self._failure()  # OpenCV does not say that it could not write
                self._partial.replace(self.path)
        except OSError as failure:
            raise self._failure() from failure
        finally:
            self._partial.unlink(missing_ok=True)

    def _failure(self) -> InputError:
        return InputError(
            f"cannot write the video '{self.path}'; is the disk full, or OpenCV built without "
            "video? Predictions can be written without pictures."
        )
