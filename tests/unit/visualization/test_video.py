"""Videos: what is written is read; damaged files are named."""

import os
import socket
import struct

import numpy as np
import pytest

from bpt_det.utils.errors import InputError
from bpt_det.utils.opencv import cv2
from bpt_det.visualization import video
from bpt_det.visualization.video import VIDEO_SUFFIXES, VideoReader, VideoWriter

SIZE = (48, 64)  # H, W
LEVELS = range(10, 250, 30)


@pytest.fixture(autouse=True, params=["mp4v", "h264"])
def codec(request, monkeypatch):
    if request.param == "h264":
        pytest.importorskip("av", reason="pip install av")
    else:
        monkeypatch.setattr(video, "find_spec", lambda name: None)
    return request.param


@pytest.fixture
def clip(tmp_path, codec):
    """Eight frames, each a red of its own."""
    with VideoWriter(tmp_path / "clip.mp4", 12.5, SIZE) as writer:
        for level in LEVELS:
            frame = np.zeros((*SIZE, 3), dtype=np.uint8)
            frame[:, :, 0] = level
            writer.write(frame)
    return tmp_path / "clip.mp4"


def test_the_codec_is_one_that_browsers_play_where_it_can_be(clip, codec):
    capture = cv2.VideoCapture(str(clip))
    name = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode()
    assert (name in ("h264", "avc1")) == (codec == "h264")


def test_pyav_without_h264_is_not_used(tmp_path, monkeypatch, codec):
    if codec == "h264":
        monkeypatch.setattr("av.codecs_available", set())
    with VideoWriter(tmp_path / "a.mp4", 5, SIZE) as writer:
        writer.write(np.zeros((*SIZE, 3), np.uint8))
    capture = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little") in (b"mp4v", b"FMP4")


def test_what_is_written_is_read(clip):
    reader = VideoReader(str(clip))
    assert (reader.fps, reader.num_frames) == (12.5, 8)
    numbers, times, frames = zip(*reader, strict=True)
    assert numbers == tuple(range(8))
    np.testing.assert_allclose(times, np.arange(8) / 12.5, atol=1e-6)
    for frame, level in zip(frames, LEVELS, strict=True):
        assert frame.shape == (*SIZE, 3) and frame.dtype == np.uint8
        np.testing.assert_allclose(frame.mean(axis=(0, 1)), [level, 0, 0], atol=8)


def test_every_third_frame_is_read_at_a_third_of_the_speed(clip):
    reader = VideoReader(str(clip), every=3)
    assert (reader.num_frames, reader.fps) == (3, 12.5 / 3)
    numbers, times, frames = zip(*reader, strict=True)
    assert numbers == (0, 3, 6)
    np.testing.assert_allclose(times, [0, 0.24, 0.48], atol=1e-6)
    assert [round(frame[..., 0].mean() / 30) for frame in frames] == [0, 3, 6]


def test_an_odd_side_loses_its_last_row_or_column(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 5, (47, 63)) as writer:
        writer.write(np.zeros((47, 63, 3), dtype=np.uint8))
    ((_, _, frame),) = VideoReader(str(tmp_path / "a.mp4"))
    assert frame.shape == (46, 62, 3)


@pytest.mark.parametrize("content", [b"", b"no video" * 99])
def test_a_file_that_is_no_video_is_named(tmp_path, content, capfd):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(InputError, match="video '.*/a.mp4' cannot be read; restore the file"):
        VideoReader(str(tmp_path / "a.mp4"))
    assert capfd.readouterr().err == ""


def test_a_cut_video_is_read_as_far_as_it_goes_and_named(tmp_path, caplog):
    rng = np.random.default_rng(0)
    with VideoWriter(tmp_path / "clip.avi", 2, SIZE) as writer:
        for _ in range(20):
            writer.write(rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    content = (tmp_path / "clip.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(content[: len(content) // 2])
    frames = list(VideoReader(str(tmp_path / "cut.avi")))
    assert 0 < len(frames) < 18
    assert f"cut.avi': {len(frames)} of the 20 stated frames can be read" in caplog.text


@pytest.mark.parametrize("suffix", ["avi", "mp4"])
def test_a_video_without_a_frame_is_refused_as_it_is_written_or_read(tmp_path, suffix):
    """An MPEG-4 file without a frame cannot be opened, an AVI file can."""
    path = tmp_path / f"empty.{suffix}"
    with pytest.raises(InputError, match=f"video '{path}'(; is the disk full| holds no frame)"):
        with VideoWriter(path, 5, SIZE):
            pass
        list(VideoReader(str(path)))
    assert path.exists() == (suffix == "avi")
    assert len(list(tmp_path.iterdir())) == path.exists()  # nothing partial


def test_a_failure_leaves_no_video(tmp_path):
    with pytest.raises(KeyError), VideoWriter(tmp_path / "a.mp4", 5, SIZE) as writer:
        writer.write(np.zeros((*SIZE, 3), dtype=np.uint8))
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_video_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot write the video '.*absent/a.mp4'; is the disk"):
        VideoWriter(tmp_path / "absent/a.mp4", 5, SIZE)


def test_evenly_spaced_frames_are_read_without_a_word(clip, caplog):
    list(VideoReader(str(clip)))
    assert not caplog.records


def change_box(path, name, change):
    """Rewrite the content of an MP4 box in place."""
    data = bytearray(path.read_bytes())
    at = data.index(name)
    size = struct.unpack(">I", data[at - 4 : at])[0]
    data[at + 4 : at - 4 + size] = change(bytes(data[at + 4 : at - 4 + size]))
    path.write_bytes(data)


def test_frames_that_are_not_evenly_spaced_have_their_times_and_are_told(clip, caplog):
    def bend(content):
        """Make two rows (frames, step) of a table with one: as long, but not even."""
        assert struct.unpack(">4xI", content[:8])[0] == 1
        count, step = struct.unpack(">II", content[8:16])
        return struct.pack(">4xIIIII", 2, 4, step // 2, count - 4, step * 3 // 2)

    data = clip.read_bytes()
    at = data.index(b"stts")
    table = bend(data[at + 4 : at + 20])
    grown = len(table) - 16
    clip.write_bytes(data[:at] + b"stts" + table + data[at + 20 :])
    for name in (b"stts", b"stbl", b"minf", b"mdia", b"trak", b"moov"):  # all around it grow
        data = bytearray(clip.read_bytes())
        at = data.index(name)
        size = struct.unpack(">I", data[at - 4 : at])[0]
        data[at - 4 : at] = struct.pack(">I", size + grown)
        clip.write_bytes(data)
    times = [seconds for _, seconds, _ in VideoReader(str(clip))]
    expected = [0, 0.04, 0.08, 0.12, 0.16, 0.28, 0.4, 0.52]
    np.testing.assert_allclose(times, expected, atol=1e-6)
    assert "not evenly spaced in time" in caplog.text


def test_a_video_is_turned_as_it_says(clip):
    def turn(content):
        """Set the matrix of a track header to a quarter turn."""
        matrix = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 48 << 16, 0, 1 << 30)
        return content[:40] + matrix + content[76:]

    change_box(clip, b"tkhd", turn)
    frames = [frame for _, _, frame in VideoReader(str(clip))]
    assert {frame.shape for frame in frames} == {(64, 48, 3)} and len(frames) == 8


def test_a_last_frame_that_is_broken_is_told(clip, caplog):
    data = clip.read_bytes()
    at = data.index(b"mdat")
    size = struct.unpack(">I", data[at - 4 : at])[0]
    end = at - 4 + size
    clip.write_bytes(data[: end - 30] + bytes(30) + data[end:])
    frames = list(VideoReader(str(clip)))
    assert len(frames) == 8 or f"{len(frames)} of the 8 stated frames" in caplog.text


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(InputError, match="a.mp4' cannot be read .it is a pipe"):
        VideoReader(str(tmp_path / "a.mp4"))


def test_frames_of_more_pixels_than_are_allowed_are_refused(clip, monkeypatch):
    monkeypatch.setenv("BPT_DET_MAX_PIXELS", "3000")
    with pytest.raises(InputError, match="clip.mp4' has 3,072 pixels.*BPT_DET_MAX_PIXELS=3072"):
        VideoReader(str(clip))


@pytest.mark.parametrize("suffix", ["mp4", "avi", "m3u8"])
def test_a_list_of_addresses_is_not_followed(tmp_path, suffix):
    """FFmpeg would open what the list names, in the network and on the disk."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a.ts"
        path = tmp_path / f"a.{suffix}"
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n")
        with pytest.raises(InputError, match="cannot be read"):
            VideoReader(str(path))
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("suffix", [".avi", ".mkv", ".mov", ".m4v", ".3gp"])
def test_other_containers_are_read_without_a_word(tmp_path, suffix, caplog):
    assert suffix in VIDEO_SUFFIXES
    with VideoWriter(tmp_path / f"a{suffix}", 25, SIZE) as writer:
        for level in LEVELS:
            writer.write(np.full((*SIZE, 3), level, dtype=np.uint8))
    numbers, times, frames = zip(*VideoReader(str(tmp_path / f"a{suffix}")), strict=True)
    assert numbers == tuple(range(8))
    np.testing.assert_allclose(times, np.arange(8) / 25, atol=1e-3)
    np.testing.assert_allclose([frame.mean() for frame in frames], LEVELS, atol=8)
    assert not caplog.records


def test_a_path_that_is_no_utf8_is_refused(tmp_path):
    """OpenCV crashes on it."""
    path = tmp_path / os.fsdecode(b"\xff.mp4")
    path.write_bytes(b"no video")
    with pytest.raises(InputError, match=r"\\xff.mp4' has a path that is no UTF-8"):
        VideoReader(str(path))
    with pytest.raises(InputError, match="no UTF-8"):
        VideoWriter(tmp_path / os.fsdecode(b"\xff") / "a.mp4", 5, SIZE)
