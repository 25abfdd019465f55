"""Video files: reader and writer, frame by frame. Frames are RGB arrays (H, W, 3), uint8."""

import logging
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bpt_det.data.archives import open_file
from bpt_det.data.images import MAX_PIXELS
from bpt_det.utils.errors import InputError, printable
from bpt_det.utils.opencv import cv2

VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"),
    *(".ogv", ".ts", ".webm", ".wmv"),
)
_DEFAULT_FPS = 25.0  # of files that do not state theirs

# FFmpeg would print lines of its own about a broken file; our errors say what matters.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# A file may be a list of other files or addresses, which FFmpeg would open: only containers are.
os.environ.setdefault(
    "OPENCV_FFMPEG_CAPTURE_OPTIONS",
    "protocol_whitelist;file|format_whitelist;"
    "asf,avi,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,mpegvideo,h264,hevc,ogg",
)

logger = logging.getLogger(__name__)


class VideoReader:
    """Reads every n-th frame of a video file, starting with the first.

    Args:
        path: of the file.
        every: n, an integer >= 1; 1 reads all frames.

    Frames are turned as the file says. Where they are not evenly spaced in time, or end before
    the stated number, a warning says so once they have been read.

    Attributes:
        fps: of the frames that are read, in 1/s.
        num_frames: how many will be read as far as the file says; 0 if it does not.

    Raises:
        InputError: it is no regular file, OpenCV cannot open it, or its frames have more pixels
            than are allowed (``BPT_DET_MAX_PIXELS``).
    """

    def __init__(self, path: str, every: int = 1) -> None:
        self.path = path
        self.every = every
        _check_name(path)
        open_file(path).close()  # a pipe would be waited for
        self._capture = _open(path)
        if not self._capture.isOpened():
            raise InputError(
                f"video '{path}' cannot be read; restore the file, or convert it to another format."
            )
        sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        width, height = (int(self._capture.get(side)) for side in sides)
        MAX_PIXELS.check(width * height, f"video '{path}'")
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = (fps if 0 < fps < 1000 else _DEFAULT_FPS) / every
        self._stated = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.num_frames = -(-self._stated // every)

    def __iter__(self) -> Iterator[tuple[int, float, np.ndarray]]:
        """Yield (frame number counted from 0, its time in seconds, frame); once.

        Raises:
            InputError: there is no frame at all.
        """
        times: list[float] = []  # of all frames
        try:
            while self._capture.grab():
                times.append(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
                if (len(times) - 1) % self.every == 0:
                    is_decoded, frame = self._capture.retrieve()
                    if not is_decoded:
                        times.pop()
                        break
                    yield len(times) - 1, times[-1], cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            self._capture.release()
        if not times:
            raise InputError(f"video '{self.path}' holds no frame that can be read.")
        if self._stated > len(times):
            text = (
                "video '%s': %d of the %d stated frames can be read; it may be damaged at its end"
            )
            logger.warning(text, self.path, len(times), self._stated)
        if not _are_even(times):
            text = "video '%s': its frames are not evenly spaced in time; go by the time of each"
            logger.warning(text, self.path)


def _check_name(path: str) -> None:
    """Refuse a path that OpenCV would crash on."""
    if printable(path) != path:
        raise InputError(
            f"video '{printable(path)}' has a path that is no UTF-8; rename the file or its folder."
        )


def _open(path: str) -> cv2.VideoCapture:
    """Open a file by FFmpeg alone; OpenCV would print that no other backend was tried."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        return cv2.VideoCapture(path, cv2.CAP_FFMPEG)
    finally:
        cv2.utils.logging.setLogLevel(level)


def _are_even(times: Sequence[float]) -> bool:
    """Whether no step from one frame to the next is far from the usual one."""
    steps = np.diff(times)
    if len(steps) < 2 or not times[-1] > 0:  # a file without times
        return True
    return bool(np.abs(steps - np.median(steps)).max() < 0.5 * np.median(steps))


class VideoWriter:
    """Writes frames of one size; use it in a ``with`` statement.

    The codec is H.264, which browsers play, where PyAV with libx264 is installed, else MPEG-4. The
    file appears when the block ends, and not at all if it fails. Sides are even: of an odd one the
    last row or column is cut off.

    Args:
        path: of the file; ends in ``.mp4``.
        fps: frames per second.
        size: (H, W) of the frames.

    Raises:
        InputError: the file cannot be written.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        self.path = path
        self._partial = path.with_name(f".video.{os.getpid()}.partial{path.suffix}")
        _check_name(str(self._partial))
        try:
            encoder = _H264Encoder if _has_h264() else _MPEG4Encoder
            self._encoder = encoder(self._partial, fps, size)
        except OSError as error:
            self._partial.unlink(missing_ok=True)
            raise self._failure() from error

    def __enter__(self) -> "VideoWriter":
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append a frame.

        Raises:
            InputError: it cannot be written.
        """
        try:
            self._encoder.write(frame)
        except OSError as error:
            raise self._failure() from error

    def __exit__(self, error_type: type | None, *error) -> None:
        try:
            self._encoder.close()
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


def _has_h264() -> bool:
    """Whether PyAV is installed and built with libx264, which its wheels are."""
    if find_spec("av") is None:
        return False
    import av

    return "libx264" in av.codecs_available


class _MPEG4Encoder:
    """OpenCV's, which is always there."""

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        codec = cv2.VideoWriter.fourcc(*"mp4v")
        self._writer = cv2.VideoWriter(str(path), codec, fps, size[::-1])
        if not self._writer.isOpened():
            raise OSError("no such codec, or no such folder")

    def write(self, frame: np.ndarray) -> None:
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))

    def close(self) -> None:
        self._writer.release()


class _H264Encoder:
    """PyAV's; its errors are kinds of `OSError`."""

    def __init__(self, path: Path, fps: float, size: tuple[int, int]) -> None:
        import av

        self._frame_type = av.VideoFrame
        self._container = av.open(str(path), "w")
        self._stream = self._container.add_stream("libx264", Fraction(fps).limit_denominator(1000))
        self._stream.height, self._stream.width = (side // 2 * 2 for side in size)
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"bf": "0"}  # frames in the order of their times
        self._container.start_encoding()  # opens the file

    def write(self, frame: np.ndarray) -> None:
        pixels = np.ascontiguousarray(frame[: self._stream.height, : self._stream.width])
        for packet in self._stream.encode(self._frame_type.from_ndarray(pixels, format="rgb24")):
            self._container.mux(packet)

    def close(self) -> None:
        with self._container:
            for packet in self._stream.encode():
                self._container.mux(packet)
