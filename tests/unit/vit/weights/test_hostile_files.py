"""Weight files of strangers: refused at once, in one line, and nothing in them is executed."""

import resource

import pytest

from bpt_det.utils.errors import InputError
from bpt_det.vit.weights.files import read_weights
from tests.support.hostile_weights import FILES, mapping, tensor, text, torch_archive

MEBIBYTE = 1 << 20


def peak():
    """Return the largest memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where an attack would leave its trace
    path = tmp_path / "weights"
    FILES[name](path)
    before = peak()
    with pytest.raises(InputError) as caught:
        read_weights(str(path))
    message = str(caught.value)
    assert "\n" not in message and len(message) < 1000 and str(path) in message
    assert peak() - before < 500 * MEBIBYTE
    assert not (tmp_path / "executed").exists()


def test_the_writer_of_hostile_files_can_write_a_good_one(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(
        torch_archive(mapping(text("w"), tensor(4, b"K\x02K\x02\x86", b"K\x02K\x01\x86")))
    )
    assert read_weights(str(path))["w"].tolist() == [[0, 0], [0, 0]]


def test_attributes_of_a_mapping_do_not_hide_its_methods(tmp_path):
    path = tmp_path / "weights.pth"
    shadow = b"ccollections\nOrderedDict\n)R}" + text("items") + b"K\x01s" + b"b"
    path.write_bytes(torch_archive(mapping(text("model"), shadow)))
    assert read_weights(str(path)) == {"model": {}}
    assert type(read_weights(str(path))["model"]) is dict


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000, "\0", "a\nb", "\udcff"])
def test_a_name_that_no_file_can_have_is_refused(name):
    with pytest.raises(InputError, match="^weights '"):
        read_weights(name)


@pytest.mark.parametrize(
    ("name", "variable", "needed"),
    [
        ("torch: 250,000 objects", "BPT_DET_MAX_WEIGHT_OBJECTS", 200_001),
        ("torch: deflate bomb", "BPT_DET_MAX_UNPACKED_BYTES", 100 * MEBIBYTE + 24),
    ],
)
def test_a_limit_is_a_setting_that_the_message_names(name, variable, needed, tmp_path, monkeypatch):
    path = tmp_path / "weights"
    FILES[name](path)
    with pytest.raises(InputError, match=rf"set {variable}={needed}\."):
        read_weights(str(path))
    monkeypatch.setenv(variable, "200000000")
    try:
        read_weights(str(path))
    except InputError as error:
        assert variable not in str(error)
    monkeypatch.setenv(variable, "0")
    with pytest.raises(InputError, match=f"{variable} must be an integer >= 1, got '0'"):
        read_weights(str(path))
