import pytest

from bpt_det.utils.atomic import atomic_write, make_writable
from bpt_det.utils.errors import InputError


def test_a_file_appears_with_its_folder_once_it_is_complete(tmp_path):
    path = tmp_path / "new/file.bin"
    with atomic_write(path) as partial:
        partial.write_bytes(b"half")
        assert not path.exists()
    assert path.read_bytes() == b"half"
    assert [file.name for file in path.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interruption_leaves_the_earlier_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "file.bin"
    path.write_bytes(b"earlier")
    with pytest.raises(error), atomic_write(path) as partial:
        partial.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"earlier"
    assert [file.name for file in tmp_path.iterdir()] == ["file.bin"]


def test_an_unwritable_path_is_named():
    with pytest.raises(InputError, match="cannot write '/dev/null/file.bin'"):
        with atomic_write("/dev/null/file.bin"):
            pass


def test_a_full_disk_is_named(tmp_path):
    with pytest.raises(InputError, match=r"No space left on device\); is the disk full\?$"):
        with atomic_write(tmp_path / "file.bin"):
            raise OSError(28, "No space left on device")


def test_a_folder_is_made_and_nothing_is_left_in_it(tmp_path):
    make_writable(tmp_path / "a/b", "output_dir")
    assert list((tmp_path / "a/b").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_refused_by_its_name_and_path():
    with pytest.raises(InputError, match="output_dir '/dev/null/a': Not a directory") as caught:
        make_writable("/dev/null/a", "output_dir")
    assert caught.value.parameter == "output_dir"
