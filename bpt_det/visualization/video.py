"""Videos: reader and writer, frame by frame. Frames are RGB arrays (H, W, 3), uint8."""

import logging
import os
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bpt_det.data.images import MAX_PIXELS
from bpt_det.utils.errors import InputError
from bpt_det.utils.opencv import cv2

from .captures import check_path, is_stream, open_capture, source_name

VIDEO_SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"),
    *(".ogv", ".ts", ".webm", ".wmv"),
)
_DEFAULT_FPS = 25.0  # of files that do not state theirs

logger = logging.getLogger(__name__)


class VideoReader:
    """Reads every n-th frame of a video, starting with the first.

    Args:
        source: path of a file, index of a camera, or address of a stream (rtsp, http).
        every: n, an integer >= 1; 1 reads all frames.
        max_frames: how many are read at most; needed where no end is stated, as of a camera.

    Frames of a file are turned as it says. Where they are not evenly spaced in time, or end before
    the stated number, a warning says so once they have been read.

    Attributes:
        fps: of the frames that are read, in 1/s.
        num_frames: how many will be read as far as is known; 0 if it is not.

    Raises:
        InputError: it is no regular file or cannot be opened, its frames have more pixels than are
            allowed (``BPT_DET_MAX_PIXELS``), or it has no end and ``max_frames`` is None.
    """

    def __init__(self, source: str, every: int = 1, max_frames: int | None = None) -> None:
        self.every = every
        self.max_frames = max_frames
        self._name = f"{'stream' if is_stream(source) else 'video'} '{source_name(source)}'"
        self._capture = open_capture(source)
        sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        width, height = (int(self._capture.get(side)) for side in sides)
        MAX_PIXELS.check(width * height, self._name)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = (fps if 0 < fps < 1000 else _DEFAULT_FPS) / every
        self._stated = max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._is_live = is_stream(source) and not self._stated
        if self._is_live and max_frames is None:
            self._capture.release()
            raise InputError(
                f"{self._name} states no end; say how many frames to read at most.",
                hint="max_frames",
            )
        self.num_frames = -(-self._stated // every)
        if max_frames is not None:
            self.num_frames = min(self.num_frames, max_frames) if self._stated else max_frames

    def __iter__(self) -> Iterator[tuple[int, float, np.ndarray]]:
        """Yield (frame number counted from 0, its time in seconds, frame); once.

        Times of a stream without an end are those at which its frames came.

        Raises:
            InputError: there is no frame at all.
        """
        times: list[float] = []  # of all frames
        num_read = 0
        begin = time.monotonic()
        try:
            while num_read != self.max_frames and self._capture.grab():
                place = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
                times.append(time.monotonic() - begin if self._is_live else place)
                if (len(times) - 1) % self.every == 0:
                    is_decoded, frame = self._capture.retrieve()
                    if not is_decoded:
                        times.pop()
                        break
                    num_read += 1
                    yield len(times) - 1, times[-1], cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            self._capture.release()
        if not times:
            raise InputError(f"{self._name} holds no frame that can be read.")
        if self._is_live and num_read != self.max_frames:
            logger.warning("%s has ended after %d frames", self._name, num_read)
        if self._stated > len(times) and num_read != self.max_frames:
            text = "%s: %d of the %d stated frames can be read; it may be damaged at its end"
            logger.warning(text, self._name, len(times), self._stated)
        if not self._is_live and not _are_even(times):
            text = "%s: its frames are not evenly spaced in time; go by the time of each"
            logger.warning(text, self._name)


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
        check_path(str(self._partial))
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
