import pickle
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from bpt_det.utils.errors import InputError
from bpt_det.vit.weights.files import read_weights

ARRAYS = OrderedDict(
    weight=np.arange(6, dtype=np.float32).reshape(2, 3),
    half=np.arange(5, dtype=np.float16),
    scalar=np.float64(0.25),
    steps=np.array(7, dtype=np.int64),
    mask=np.array([True, False]),
)
CONTENT = {"model": ARRAYS, "__author__": "Zoo", "matching_heuristics": True, "iteration": 12}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model_final.pkl"


def assert_is_content(content):
    assert content.keys() == CONTENT.keys()
    assert (content["__author__"], content["matching_heuristics"]) == ("Zoo", True)
    assert list(content["model"]) == list(ARRAYS)
    for name, array in ARRAYS.items():
        tensor = content["model"][name]
        assert torch.equal(tensor, torch.tensor(array)) and tensor.shape == array.shape
        assert tensor.dtype == torch.tensor(array).dtype
        assert tensor.is_contiguous()


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_weights(str(path))
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_every_binary_protocol_is_read(path, protocol):
    path.write_bytes(pickle.dumps(CONTENT, protocol=protocol))
    assert_is_content(read_weights(str(path)))


@pytest.mark.parametrize("spelling", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_old_and_new_numpy_are_read(path, spelling):
    """Protocol 2 ends a module's name with a line feed, so it may be exchanged for a longer one."""
    written = pickle.dumps(CONTENT, protocol=2)
    names = b"numpy.core.multiarray", b"numpy._core.multiarray"
    assert any(name in written for name in names)
    for name in names:
        written = written.replace(b"c" + name + b"\n", b"c" + spelling + b"\n")
    path.write_bytes(written)
    assert_is_content(read_weights(str(path)))


def test_a_file_of_python_2_is_read(path):
    """Python 2 wrote an array's bytes as a byte string, which only latin1 carries over."""
    array = np.array([1.5, -2.0, 300.0], dtype="<f4")
    data = array.tobytes()
    path.write_bytes(
        b"\x80\x02}U\x05modelcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        b"K\x00\x85U\x01b\x87R(K\x01K\x03\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R"
        b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
        + bytes([len(data)])
        + data
        + b"tbs."
    )
    assert torch.equal(read_weights(str(path))["model"], torch.tensor(array))


def test_transposed_arrays_and_foreign_byte_order_come_back_in_order(path):
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    path.write_bytes(pickle.dumps({"weight": array}))
    tensor = read_weights(str(path))["weight"]
    assert tensor.tolist() == [[0, 3], [1, 4], [2, 5]] and tensor.is_contiguous()


def test_the_tensors_can_be_written_to(path):
    """Protocol 5 stores arrays as buffers that are read-only."""
    path.write_bytes(pickle.dumps(CONTENT, protocol=5))
    read_weights(str(path))["model"]["weight"].add_(1)


class Intruder:
    """Unpickled by an ordinary `pickle.load`, it makes a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_of_objects_is_refused_and_not_executed(path, tmp_path, protocol):
    marker = tmp_path / "executed"
    content = {**CONTENT, "model": {**ARRAYS, "intruder": Intruder(marker)}}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    text = refusal(path)
    assert text.startswith(f"'{path}' holds Python objects besides tensors (")
    assert "torch.save" in text
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists()  # the file was dangerous indeed


@pytest.mark.parametrize(
    "name", ["builtins.eval", "os.system", "numpy.load", "numpy.core.multiarray.fromfile"]
)
def test_the_refused_name_is_in_the_message(path, name):
    module, _, function = name.rpartition(".")
    path.write_bytes(b"\x80\x02c" + f"{module}\n{function}\n".encode() + b"(U\x01ytR.")
    assert f"({name})" in refusal(path)


def test_an_array_of_objects_is_refused_by_name(path, tmp_path):
    marker = tmp_path / "executed"
    array = np.array([{"a": 1}, None], dtype=object)
    path.write_bytes(pickle.dumps({"model": {"weight": array}}))
    text = refusal(path)
    assert text.startswith(f"'{path}' holds 'model.weight' of dtype O8")
    assert "torch.save" in text
    array[0] = Intruder(marker)
    path.write_bytes(pickle.dumps({"model": {"weight": array}}))
    assert "holds Python objects besides tensors" in refusal(path)
    assert not marker.exists()


def test_a_codec_other_than_latin1_is_refused(path):
    path.write_bytes(b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.")
    assert "truncated or not a file of Detectron2 weights" in refusal(path)


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_truncated_file_is_named_with_its_size(path, kept, protocol):
    whole = pickle.dumps(CONTENT, protocol=protocol)
    path.write_bytes(whole[: int(kept * len(whole))])
    text = refusal(path)
    assert text.startswith(f"'{path}' ({int(kept * len(whole))} bytes) is truncated or not ")
    assert "Detectron2" in text and "download" in text


def test_an_array_without_a_description_is_damage(path):
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    path.write_bytes(b"\x80\x02}U\x05model" + array + b"s.")
    assert "truncated or not a file of Detectron2 weights" in refusal(path)


def test_bytes_that_only_begin_as_a_pickle_are_refused(path):
    path.write_bytes(b"\x80\x04\x95" * 9)
    assert "truncated or not a file of Detectron2 weights" in refusal(path)


def test_a_file_with_every_byte_flipped_in_turn_never_ends_in_another_error(path):
    """Damage is either unseen (a changed value) or one line."""
    whole = bytearray(pickle.dumps(CONTENT, protocol=2))
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x15
        path.write_bytes(damaged)
        try:
            assert isinstance(read_weights(str(path)), dict)
        except InputError as error:
            assert "\n" not in str(error)


def test_a_file_that_is_no_dictionary_is_refused_with_its_type(path):
    path.write_bytes(pickle.dumps([1, 2]))
    assert re.match(rf"'{path}' holds a list, not the dictionary", refusal(path))
