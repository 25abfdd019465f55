"""Captures of cameras and streams, by a fake of OpenCV's and by a server on this machine."""

import functools
import os
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from bpt_det.utils.errors import InputError
from bpt_det.utils.opencv import cv2
from bpt_det.visualization import captures
from bpt_det.visualization.captures import is_camera, is_stream, source_name
from bpt_det.visualization.video import VideoReader, VideoWriter

SIZE = (48, 64)  # H, W
PROPERTIES = {cv2.CAP_PROP_FRAME_WIDTH: 64, cv2.CAP_PROP_FRAME_HEIGHT: 48, cv2.CAP_PROP_FPS: 30}


class FakeCapture:
    """A camera that gives blue frames until it is unplugged."""

    num_frames: float = float("inf")

    def __init__(self, source, *arguments):
        FakeCapture.opened = (source, *arguments)
        FakeCapture.options = os.environ.get("OPENCV_FFMPEG_CAPTURE_OPTIONS")
        self.num_grabbed = 0

    def isOpened(self):
        return self.num_frames > 0

    def get(self, name):
        return PROPERTIES.get(name, -1)

    def grab(self):
        self.num_grabbed += 1
        return self.num_grabbed <= self.num_frames

    def retrieve(self):
        return True, np.full((*SIZE, 3), (200, 0, 0), np.uint8)

    def release(self):
        pass


@pytest.fixture
def camera(monkeypatch):
    monkeypatch.setattr(captures.cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr(FakeCapture, "num_frames", float("inf"))
    return FakeCapture


def test_a_camera_is_read_until_there_are_enough_frames(camera, caplog):
    reader = VideoReader("0", every=3, max_frames=4)
    numbers, times, frames = zip(*reader, strict=True)
    assert camera.opened == (0,)
    assert (reader.num_frames, reader.fps) == (4, 10)
    assert numbers == (0, 3, 6, 9) and list(times) == sorted(times) and times[0] >= 0
    assert frames[0][0, 0].tolist() == [0, 0, 200]
    assert not caplog.records


def test_a_camera_that_ends_early_is_told(camera, caplog, monkeypatch):
    monkeypatch.setattr(camera, "num_frames", 5)
    assert len(list(VideoReader("1", max_frames=9))) == 5
    assert "stream 'camera_1' has ended after 5 frames" in caplog.text


def test_a_stream_without_an_end_needs_a_number_of_frames(camera):
    with pytest.raises(InputError, match="stream 'rtsp://cam/1' states no end; say how many"):
        VideoReader("rtsp://me:secret@cam/1")
    assert "protocol_whitelist;http," in camera.options and "file" not in camera.options
    assert "OPENCV_FFMPEG_CAPTURE_OPTIONS" not in os.environ


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("7", "camera 7 cannot be opened; connect it, and let this user read /dev/video7"),
        ("rtsp://me:secret@cam/1", "stream 'rtsp://cam/1' cannot be opened; check its address"),
    ],
)
def test_what_cannot_be_opened_is_named_without_passwords(camera, monkeypatch, source, message):
    monkeypatch.setattr(camera, "num_frames", 0)
    with pytest.raises(InputError, match=message):
        VideoReader(source, max_frames=1)


def test_no_camera_and_no_server_are_told_in_one_line(capfd):
    for source in ("97", "http://127.0.0.1:9/a.mp4"):
        with pytest.raises(InputError, match="cannot be opened"):
            VideoReader(source, max_frames=1)
    assert capfd.readouterr().err == ""


def test_a_file_whose_name_is_a_number_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_camera("0") and is_stream("0") and not is_camera("-1") and not is_stream("a.mp4")
    (tmp_path / "0").touch()
    assert not is_stream("0") and source_name("0") == "0"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """A folder and the address that it is served at."""
    handler = functools.partial(QuietHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def write_clip(path):
    with VideoWriter(path, 10, SIZE) as writer:
        for level in (20, 120, 220):
            writer.write(np.full((*SIZE, 3), level, np.uint8))


def test_a_video_is_read_by_its_address(served):
    folder, address = served
    write_clip(folder / "clip.mp4")
    reader = VideoReader(f"{address}/clip.mp4")
    assert (reader.num_frames, reader.fps) == (3, 10)
    np.testing.assert_allclose([frame.mean() for *_, frame in reader], [20, 120, 220], atol=8)
    assert len(list(VideoReader(f"{address}/clip.mp4", max_frames=2))) == 2


def test_a_list_from_a_server_leads_to_no_file_of_this_machine(served):
    folder, address = served
    write_clip(folder / "clip.ts")
    head = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n"
    (folder / "a.m3u8").write_text(f"{head}clip.ts\n#EXT-X-ENDLIST\n")
    assert len(list(VideoReader(f"{address}/a.m3u8", max_frames=2))) == 2
    (folder / "b.m3u8").write_text(f"{head}file://{folder}/clip.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises(InputError, match="cannot be opened"):
        VideoReader(f"{address}/b.m3u8", max_frames=2)
