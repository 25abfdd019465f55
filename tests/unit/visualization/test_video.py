"""Videos: what is written is read; damaged files are named."""

import numpy as np
import pytest

from bpt_det.utils.errors import InputError
from bpt_det.visualization.video import VideoReader, VideoWriter

SIZE = (48, 64)  # H, W
LEVELS = range(10, 250, 30)


@pytest.fixture
def clip(tmp_path):
    """Eight frames, each a red of its own."""
    with VideoWriter(tmp_path / "clip.mp4", 12.5, SIZE) as writer:
        for level in LEVELS:
            frame = np.zeros((*SIZE, 3), dtype=np.uint8)
            frame[:, :, 0] = level
            writer.write(frame)
    return tmp_path / "clip.mp4"


def test_what_is_written_is_read(clip):
    reader = VideoReader(str(clip))
    assert (reader.fps, reader.num_frames) == (12.5, 8)
    numbers, frames = zip(*reader, strict=True)
    assert numbers == tuple(range(8))
    for frame, level in zip(frames, LEVELS, strict=True):
        assert frame.shape == (*SIZE, 3) and frame.dtype == np.uint8
        np.testing.assert_allclose(frame.mean(axis=(0, 1)), [level, 0, 0], atol=8)


def test_every_third_frame_is_read_at_a_third_of_the_speed(clip):
    reader = VideoReader(str(clip), every=3)
    assert (reader.num_frames, reader.fps) == (3, 12.5 / 3)
    numbers, frames = zip(*reader, strict=True)
    assert numbers == (0, 3, 6)
    assert [round(frame[..., 0].mean() / 30) for frame in frames] == [0, 3, 6]


def test_an_odd_side_loses_its_last_row_or_column(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", 5, (47, 63)) as writer:
        writer.write(np.zeros((47, 63, 3), dtype=np.uint8))
    ((_, frame),) = VideoReader(str(tmp_path / "a.mp4"))
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
    assert f"cut.avi' ends after {len(frames)} of 20 frames" in caplog.text


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
