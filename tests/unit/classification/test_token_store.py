"""Token store: tokens keep their order and their value, rounded to bfloat16."""

import fcntl

import pytest
import torch

from bpt_det.classification.token_store import TokenStore, is_complete, locked, token_file
from bpt_det.utils.errors import InputError

SHAPE = (5, 3, 7)
DESCRIPTION = {"vit": "abc", "num_views": 2}


def test_rows_are_read_as_they_were_written_but_rounded():
    tokens = torch.randn(SHAPE, dtype=torch.float64)
    cache = TokenStore.in_memory(SHAPE)
    cache.write(3, tokens[3:])
    cache.write(0, tokens[:3])
    assert len(cache) == 5
    for row in range(5):
        assert torch.equal(cache.read(row), tokens[row].bfloat16())


def test_a_row_that_is_read_is_a_copy():
    cache = TokenStore.in_memory(SHAPE)
    cache.write(0, torch.ones(SHAPE))
    cache.read(2).zero_()
    assert torch.equal(cache.read(2), torch.ones(3, 7, dtype=torch.bfloat16))


@pytest.mark.parametrize("has_fallocate", [True, False])  # macOS has none
def test_a_file_is_complete_when_its_description_is_written(tmp_path, monkeypatch, has_fallocate):
    if not has_fallocate:
        monkeypatch.delattr("os.posix_fallocate", raising=False)
    path = tmp_path / "tokens.npy"
    tokens = torch.randn(SHAPE)
    with token_file(path, SHAPE, DESCRIPTION) as partial:
        TokenStore.of_file(partial, is_writable=True).write(0, tokens)
        assert not is_complete(path, SHAPE, DESCRIPTION)
    assert is_complete(path, SHAPE, DESCRIPTION)
    assert torch.equal(TokenStore.of_file(path).read(4), tokens[4].bfloat16())


@pytest.mark.parametrize(
    ("shape", "description"),
    [((5, 7, 3), DESCRIPTION), (SHAPE, {**DESCRIPTION, "num_views": 3})],
)
def test_a_file_of_something_else_is_not_the_one_asked_for(shape, description, tmp_path):
    path = tmp_path / "tokens.npy"
    with token_file(path, SHAPE, DESCRIPTION):
        pass
    assert not is_complete(path, shape, description)


def test_the_disk_space_is_taken_before_the_file_is_filled(tmp_path):
    """A full disk would else kill the process while it writes to the mapped file."""
    with token_file(tmp_path / "tokens.npy", (2000, 3, 7), DESCRIPTION) as partial:
        assert partial.stat().st_blocks * 512 >= 2000 * 3 * 7 * 2


def test_a_full_disk_is_one_error_and_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", fail, raising=False)
    with pytest.raises(InputError, match=r"cannot write '.*tokens.npy' .*is the disk full\?"):
        with token_file(tmp_path / "tokens.npy", SHAPE, DESCRIPTION):
            pytest.fail("entered")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_this_machine_does_not_see_is_named(tmp_path):
    with pytest.raises(InputError, match=r"read from '.*/no.npy' .*that all machines of the run"):
        TokenStore.of_file(tmp_path / "no.npy")


def test_one_process_at_a_time_writes_to_a_folder(tmp_path):
    with locked(tmp_path / "new"), (tmp_path / "new/.lock").open("a") as other:
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / "new/.lock").open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
