"""Captures of videos: files, cameras by index, and streams by address, opened by OpenCV."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from bpt_det.data.archives import open_file
from bpt_det.utils.errors import InputError, printable
from bpt_det.utils.opencv import cv2

_SCHEME = re.compile(r"(rtsps?|https?)://", re.IGNORECASE)
_CREDENTIALS = re.compile(r"(?<=://)[^/@]*@")
_TIMEOUT = 10_000  # ms, to open a stream and to read a frame of it
# What FFmpeg may open. A file may be a list of other files or addresses: only containers are read,
# and a stream never leads to a file of this machine.
_CONTAINERS = (
    "asf,avi,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mpeg,mpegts,mpegvideo,h264,hevc,ogg"
)
_FILES = f"protocol_whitelist;file|format_whitelist;{_CONTAINERS}"
_STREAMS = (
    "protocol_whitelist;http,https,httpproxy,tcp,tls,crypto,udp,rtp,rtsp,rtsps,srtp|"
    f"format_whitelist;{_CONTAINERS},rtsp,sdp,rtp,hls,mpjpeg,mjpeg,jpeg_pipe,aac,mp3,webvtt"
)
_OPTIONS = "OPENCV_FFMPEG_CAPTURE_OPTIONS"

# FFmpeg would print lines of its own about a broken file; our errors say what matters.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def is_camera(source: str) -> bool:
    """Whether a source is the index of a camera, and no file."""
    return source.isascii() and source.isdigit() and not os.path.exists(source)


def is_stream(source: str) -> bool:
    """Whether a source is the index of a camera or the address of a stream."""
    return is_camera(source) or _SCHEME.match(source) is not None


def source_name(source: str) -> str:
    """Return what is shown and stored of a source: of an address all but its user and password."""
    return f"camera_{source}" if is_camera(source) else _CREDENTIALS.sub("", source, count=1)


def check_path(path: str) -> None:
    """Check that OpenCV does not crash on a path.

    Raises:
        InputError: it is no UTF-8.
    """
    if printable(path) != path:
        raise InputError(
            f"video '{printable(path)}' has a path that is no UTF-8; rename the file or its folder."
        )


def open_capture(source: str) -> cv2.VideoCapture:
    """Open a file, a camera or a stream.

    Raises:
        InputError: it cannot be opened.
    """
    check_path(source)
    if is_camera(source):
        with _quiet(cv2.utils.logging.LOG_LEVEL_SILENT):
            capture = cv2.VideoCapture(int(source))
        advice = f"connect it, and let this user read /dev/video{source}."
        return _opened(capture, f"camera {source} cannot be opened", advice)
    if is_stream(source):
        limits = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
        settings = [value for limit in limits for value in (limit, _TIMEOUT)]
        with _quiet(cv2.utils.logging.LOG_LEVEL_SILENT), _ffmpeg_options(_STREAMS):
            capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, settings)
        text = f"stream '{source_name(source)}' cannot be opened"
        return _opened(capture, text, "check its address, and that this machine reaches it.")
    open_file(Path(source)).close()  # a pipe would be waited for
    # By FFmpeg alone; OpenCV would print that no other backend was tried.
    with _quiet(cv2.utils.logging.LOG_LEVEL_ERROR), _ffmpeg_options(_FILES):
        capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG)
    text = f"video '{source}' cannot be read"
    return _opened(capture, text, "restore the file, or convert it to another format.")


def _opened(capture: cv2.VideoCapture, text: str, advice: str) -> cv2.VideoCapture:
    if not capture.isOpened():
        raise InputError(f"{text}; {advice}")
    return capture


@contextlib.contextmanager
def _quiet(level: int) -> Iterator[None]:
    """Let OpenCV log no more than a level."""
    earlier = cv2.utils.logging.setLogLevel(level)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(earlier)


@contextlib.contextmanager
def _ffmpeg_options(options: str) -> Iterator[None]:
    """Let FFmpeg open sources by options, unless the environment has some."""
    if _OPTIONS in os.environ:
        yield
        return
    os.environ[_OPTIONS] = options
    try:
        yield
    finally:
        del os.environ[_OPTIONS]
