"""What a prefix cache cannot do is refused in one line before anything is computed."""

import re
import shutil

import pytest

import bpt_det.classification.feature_cache_checks as module
from bpt_det.classification.feature_cache import PrefixCache
from bpt_det.utils.errors import InputError
from tests.support.feature_caches import cached_mapper, classifier, write_records


@pytest.fixture
def records(tmp_path):
    return write_records(tmp_path)


@pytest.fixture(autouse=True)
def _nothing_is_computed(monkeypatch):
    monkeypatch.setattr(PrefixCache, "_compute", lambda *_: pytest.fail("computed"))


def refusal(model, records, mapper):
    with pytest.raises(InputError) as caught:
        mapper.plan(model, records)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("placement", "blocks"),
    [("shallow", "0"), ([0, 2], "0, 2"), ("all", "0, 1, 2, 3 and 1 more")],
)
def test_prompts_in_the_first_block_are_refused(placement, blocks, records):
    assert refusal(classifier(placement), records, cached_mapper()) == (
        "dataloader.cache_prefix=True keeps what enters the first prompted block, but "
        f"model.backbone.placement prompts block {blocks}, so that is the very first; use a "
        "placement that begins later, as last_4 or [6,9], or set dataloader.cache_prefix=False."
    )


def test_a_trained_vit_is_refused(records):
    assert refusal(classifier(frozen=False), records, cached_mapper()) == (
        "dataloader.cache_prefix=True needs a frozen ViT, but model.backbone.frozen=False trains "
        "it and with it what would be kept; set dataloader.cache_prefix=False."
    )


def test_endlessly_many_views_are_refused(records):
    assert refusal(classifier(), records, cached_mapper(num_views=None)) == (
        "dataloader.cache_prefix=True needs views that do not change, but "
        "dataloader.train.mapper.num_views=null draws new ones endlessly; set it to a number, for "
        "instance 4, or set dataloader.train.mapper.augment=False or dataloader.cache_prefix=False."
    )


def test_several_processes_without_a_folder_are_refused(records, monkeypatch):
    monkeypatch.setattr(module.comm, "get_world_size", lambda: 3)
    assert refusal(classifier(), records, cached_mapper()) == (
        "dataloader.cache_prefix=True in memory would keep a copy in each of the 3 processes; give "
        "dataloader.cache_dir=FOLDER, which they share, or dataloader.cache_prefix=False."
    )


SIZE = 5 * 3 * 37 * 12 * 2  # bytes


@pytest.mark.parametrize("available", [0, SIZE, int(SIZE / 0.9) - 1])
def test_too_little_memory_is_refused_with_both_sizes(available, records, monkeypatch):
    monkeypatch.setattr(module, "available_memory", lambda: available)
    assert refusal(classifier(), records, cached_mapper()) == (
        f"the prefix cache needs {SIZE / 1e9:.3g} GB of memory, but {available / 1e9:.3g} GB are "
        "available, of which it may take 90%; give dataloader.cache_dir=FOLDER to keep it in a "
        "file, fewer dataloader.train.mapper.num_views, a smaller dataloader.fraction, or "
        "dataloader.cache_prefix=False."
    )


@pytest.mark.parametrize("available", [int(SIZE / 0.9) + 1, None])
def test_enough_memory_or_unknown_memory_is_not_refused(available, records, monkeypatch):
    monkeypatch.setattr(module, "available_memory", lambda: available)
    monkeypatch.setattr(PrefixCache, "_compute", lambda *_: None)
    cached_mapper().prepare(classifier(), records)


def test_too_little_disk_space_is_refused_with_both_sizes(records, tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9e9, 9e9, 9000))
    assert refusal(classifier(), records, cached_mapper(folder)) == (
        f"the prefix cache needs 1.33e-05 GB of disk space, but 9e-06 GB are free in '{folder}'; "
        "give another folder with dataloader.cache_dir, fewer dataloader.train.mapper.num_views, a "
        "smaller dataloader.fraction, or dataloader.cache_prefix=False."
    )
    assert not list(folder.glob("*.npy"))


def test_a_cache_that_no_longer_fits_when_it_is_its_turn_is_refused(records, monkeypatch):
    monkeypatch.setattr(module, "available_memory", lambda: 2 * SIZE)
    mapper = cached_mapper()
    mapper.plan(classifier(), records)
    monkeypatch.setattr(module, "available_memory", lambda: SIZE)
    with pytest.raises(InputError, match="the prefix cache needs .* of memory, but"):
        mapper.prepare(classifier(), records)


def test_a_folder_that_cannot_be_made_is_refused(records, tmp_path):
    (tmp_path / "file").touch()
    message = refusal(classifier(), records, cached_mapper(tmp_path / "file/cache"))
    folder = re.escape(str(tmp_path / "file/cache"))
    assert re.fullmatch(
        rf"cannot write to '{folder}' \(.*\); give another folder with dataloader.cache_dir\.",
        message,
    )


def test_a_cache_prefix_that_is_no_truth_value_is_refused():
    with pytest.raises(InputError, match="cache_prefix must be True or False, got 'off'"):
        PrefixCache("off")


def test_a_folder_without_cache_prefix_is_reported(records, tmp_path, caplog):
    mapper = cached_mapper(tmp_path / "cache")
    mapper.cache.enabled = False
    mapper.plan(classifier(), records)
    mapper.prepare(classifier(), records)
    assert caplog.messages == ["dataloader.cache_dir is not used, as dataloader.cache_prefix=False"]
    assert not (tmp_path / "cache").exists()
