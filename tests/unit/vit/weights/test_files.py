import argparse
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bpt_det.utils.errors import InputError
from bpt_det.vit.weights.files import read_weights

STATE = {"weight": torch.arange(600.0).reshape(20, 30), "bias": torch.arange(20.0)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pth"


def assert_is_state(content):
    assert content.keys() == STATE.keys()
    assert all(torch.equal(content[name], STATE[name]) for name in STATE)


def refusal(location):
    with pytest.raises(InputError) as caught:
        read_weights(str(location))
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("zipped", [True, False])
def test_both_layouts_of_torch_save_are_read(path, zipped):
    torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
    assert_is_state(read_weights(str(path)))


def write_safetensors(path):
    save_file(STATE, path)
    return "safetensors"


def write_npz(path):
    with path.open("wb") as file:  # given a path, NumPy would append .npz
        np.savez(file, **{name: value.numpy() for name, value in STATE.items()})
    return "NumPy arrays (npz)"


def write_pickle(path):
    arrays = {name: value.numpy() for name, value in STATE.items()}
    path.write_bytes(pickle.dumps(arrays, protocol=2))


@pytest.mark.parametrize("write", [write_safetensors, write_npz, write_pickle])
def test_other_kinds_of_files_are_recognized_by_their_first_bytes(path, write):
    write(path)  # always named weights.pth
    assert_is_state(read_weights(str(path)))


def test_a_compressed_npz_is_read_too(path):
    with path.open("wb") as file:
        np.savez_compressed(file, **{name: value.numpy() for name, value in STATE.items()})
    assert_is_state(read_weights(str(path)))


@pytest.mark.parametrize("write", [write_safetensors, write_npz])
@pytest.mark.parametrize("kept", [0.3, 0.5, 0.99])
def test_other_kinds_of_files_are_named_when_they_are_truncated(path, write, kept):
    kind = write(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    assert refusal(path).startswith(
        f"'{path}' ({int(kept * len(whole))} bytes) is truncated or not a file of {kind}; delete"
    )


def test_a_flipped_byte_in_an_npz_is_noticed(path):
    write_npz(path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    content = bytearray(path.read_bytes())
    content[1000] ^= 255
    path.write_bytes(content)
    assert "is truncated or not a file of NumPy arrays (npz)" in refusal(path)


def test_an_npz_with_python_objects_is_refused_and_not_executed(path, tmp_path):
    marker = tmp_path / "executed"
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3), b=np.array([Intruder(marker)], dtype=object))
    text = refusal(path)
    assert text.startswith(f"'{path}' holds 'b', which is no array of numbers (")
    assert "numpy.savez" in text
    assert not marker.exists()


@pytest.mark.parametrize("array", [np.array(["text"]), np.zeros(2, "V2")])
def test_an_npz_with_other_than_numbers_names_the_array(path, array):
    with path.open("wb") as file:
        np.savez(file, a=array)
    assert refusal(path).startswith(f"'{path}' holds 'a', which is no array of numbers (")


def test_a_tilde_means_the_home_folder(path, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(STATE, path)
    assert_is_state(read_weights("~/weights.pth"))


def test_a_command_line_beside_the_weights_is_plain_data(path):
    """As in the checkpoints of MAE's own pre-training script."""
    torch.save({"model": STATE, "args": argparse.Namespace(lr=0.1, model="mae")}, path)
    content = read_weights(str(path))
    assert_is_state(content["model"])
    assert content["args"].lr == 0.1


def test_a_missing_file_is_named_with_its_source_and_hint(path):
    assert refusal(path) == f"weights '{path}' do not exist."
    with pytest.raises(InputError, match=rf"^weights '{path}' .* Look elsewhere\.$") as caught:
        read_weights(str(path), source="Look elsewhere.", hint="weights")
    assert caught.value.hint == "weights"


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.3, 0.5, 0.99])
def test_a_truncated_file_is_named_with_its_size(path, zipped, kept):
    torch.save(STATE, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    assert refusal(path).startswith(
        f"'{path}' ({int(kept * len(whole))} bytes) is truncated or not a file of PyTorch weights"
    )


@pytest.mark.parametrize(
    "content",
    [
        b"hello world, this is a text",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        bytes(range(256)) * 9,
        bytes(2000),
    ],
)
def test_other_bytes_are_called_damaged_and_not_python_objects(path, content):
    path.write_bytes(content)
    assert "is truncated or not a file of PyTorch weights" in refusal(path)


def test_an_empty_file_is_named(path):
    path.touch()
    assert refusal(path).startswith(f"'{path}' is empty; delete it")


def test_a_git_lfs_pointer_is_named(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 343249461\n")
    assert refusal(path).startswith(f"'{path}' is a Git LFS pointer")
    assert "git lfs pull" in refusal(path)


@pytest.mark.parametrize("page", ["<!DOCTYPE html>\n<html>", "\n <html lang='en'>"])
def test_a_web_page_is_named(path, page):
    path.write_text(page + "<body>Sign in</body></html>")
    assert refusal(path).startswith(f"'{path}' is a web page saved as weights; delete it")


class Intruder:
    """Unpickled by an ordinary `torch.load`, it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_of_objects_is_refused_and_not_executed(path, tmp_path, zipped):
    marker = tmp_path / "executed"
    content = {"model": STATE, "args": Intruder(marker)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    text = refusal(path)
    assert text.startswith(f"'{path}' holds Python objects besides tensors (")
    assert "torch.save" in text
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # the file was dangerous indeed


def test_a_plain_pickle_is_refused_and_not_executed(path, tmp_path):
    marker = tmp_path / "executed"
    path.write_bytes(pickle.dumps({"model": Intruder(marker)}, protocol=2))
    refusal(path)
    assert not marker.exists()
