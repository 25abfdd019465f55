"""Files of the feature cache: used again if whole and of the same tokens, else computed again."""

import json
import zipfile

import pytest
import torch
from PIL import Image

from bpt_det.classification import token_store
from bpt_det.utils.errors import InputError
from tests.support.feature_caches import (
    all_tokens,
    classifier,
    filled_mapper,
    write_records,
)
from tests.support.vits import tiny_vit


@pytest.fixture
def records(tmp_path):
    return write_records(tmp_path)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "made/cache"


def names(folder, pattern="*.npy"):
    return sorted(path.name for path in folder.glob(pattern))


def forbid_computing(monkeypatch):
    monkeypatch.setattr(token_store.TokenStore, "write", lambda *_: pytest.fail("computed"))


def test_a_later_run_uses_the_file_again_and_computes_nothing(records, folder, monkeypatch, caplog):
    tokens = all_tokens(filled_mapper(classifier(), records, folder), records)
    forbid_computing(monkeypatch)
    caplog.set_level("INFO")
    again = all_tokens(filled_mapper(classifier(), records, folder), records)
    assert torch.equal(again, tokens)
    assert f"using '{folder / names(folder)[0]}' again" in caplog.text


def test_other_prompts_at_the_same_first_block_use_the_file_again(records, folder, monkeypatch):
    filled_mapper(classifier([3, 4]), records, folder)
    forbid_computing(monkeypatch)
    filled_mapper(classifier([3]), records, folder)


def other_vit():
    vit = tiny_vit(torch.float32)
    vit.blocks[4].mlp.fc2.bias.data[3] += 1
    return vit


def plain_records(records):
    return records


@pytest.mark.parametrize(
    ("model_settings", "mapper_settings", "change"),
    [
        ({"vit": other_vit}, {}, plain_records),
        ({"placement": "last_3"}, {}, plain_records),
        ({"prompted": False}, {}, plain_records),
        ({"pixel_mean": 121.0}, {}, plain_records),
        ({}, {"num_views": 2}, plain_records),
        ({}, {"image_size": 20}, plain_records),
        ({}, {"augment": False}, plain_records),
        ({}, {}, lambda records: records[::-1]),
        ({}, {}, lambda records: records[:-1]),
    ],
)
def test_anything_else_is_computed_anew_in_a_file_of_its_own(
    model_settings, mapper_settings, change, records, folder
):
    filled_mapper(classifier(), records, folder)
    if "vit" in model_settings:
        model_settings = {"vit": model_settings["vit"]()}
    model, changed = classifier(**model_settings), change(records)
    mapper = filled_mapper(model, changed, folder, **mapper_settings)
    assert len(names(folder)) == len(names(folder, "*.json")) == 2
    in_memory = filled_mapper(model, changed, **mapper_settings)
    num_views = mapper.num_views
    tokens = all_tokens(mapper, changed, num_views)
    assert torch.equal(tokens, all_tokens(in_memory, changed, num_views))


def test_images_replaced_under_the_same_names_are_computed_anew(records, folder):
    filled_mapper(classifier(), records, folder)
    Image.new("RGB", (53, 37), (200, 30, 40)).save(records[1]["file_name"])
    tokens = all_tokens(filled_mapper(classifier(), records, folder), records)
    assert len(names(folder)) == 2
    assert torch.equal(tokens, all_tokens(filled_mapper(classifier(), records), records))


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def change_a_byte(path):
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def cut_description(path):
    path.with_suffix(".json").write_text('{"vit": "')


@pytest.mark.parametrize("damage", [cut, change_a_byte, empty, cut_description])
def test_a_damaged_file_is_named_and_computed_anew(damage, records, folder, caplog):
    tokens = all_tokens(filled_mapper(classifier(), records, folder), records)
    path = folder / names(folder)[0]
    damage(path)
    again = all_tokens(filled_mapper(classifier(), records, folder), records)
    assert f"'{path}' is damaged and will be computed again" in caplog.messages
    assert torch.equal(again, tokens)
    assert names(folder) == [path.name]


def test_an_interruption_leaves_nothing_that_looks_complete(records, folder, monkeypatch):
    write = token_store.TokenStore.write

    def interrupted(store, start, tokens):
        write(store, start, tokens[:2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(token_store.TokenStore, "write", interrupted)
        filled_mapper(classifier(), records, folder)
    assert names(folder) == names(folder, "*.json") == names(folder, ".*.partial") == []
    tokens = all_tokens(filled_mapper(classifier(), records, folder), records)
    assert torch.equal(tokens, all_tokens(filled_mapper(classifier(), records), records))


@pytest.mark.parametrize("is_renamed", [False, True])
def test_what_a_killed_process_leaves_is_not_used(is_renamed, records, folder):
    """Killed while it computed, or between the renaming and the description."""
    filled_mapper(classifier(), records, folder)
    path = folder / names(folder)[0]
    path.with_suffix(".json").unlink()
    change_a_byte(path)
    if not is_renamed:
        path.rename(path.with_name(f".{path.name}.partial"))
    tokens = all_tokens(filled_mapper(classifier(), records, folder), records)
    assert torch.equal(tokens, all_tokens(filled_mapper(classifier(), records), records))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_image_that_cannot_be_read_stops_the_filling_by_its_name(num_workers, records, folder):
    with open(records[3]["file_name"], "wb") as file:
        file.write(b"no image")
    with pytest.raises(InputError, match=r"^image '.*3\.png' cannot be read"):
        filled_mapper(classifier(), records, folder, num_workers=num_workers)
    assert names(folder) == []


def test_a_description_lies_beside_the_file(records, folder):
    filled_mapper(classifier("last_3"), records, folder)
    description = json.loads((folder / names(folder, "*.json")[0]).read_text())
    assert description["first_trained_block"] == 2
    assert (description["num_images"], description["num_views"]) == (5, 3)
    assert "RandomResizedCrop(size=(24, 24)" in description["views"]


def test_images_in_an_archive_are_told_apart_by_the_archive(records, folder, tmp_path):
    def archived(color):
        with zipfile.ZipFile(tmp_path / "birds.zip", "w") as archive:
            with archive.open("a/0.png", "w") as file:
                Image.new("RGB", (53, 37), color).save(file, "PNG")
        return [{**records[0], "file_name": str(tmp_path / "birds.zip/a/0.png")}]

    filled_mapper(classifier(), archived((200, 3, 70)), folder)
    filled_mapper(classifier(), archived((199, 233, 5)), folder)
    assert len(names(folder)) == 2


def test_a_missing_image_is_named_before_anything_is_computed(records, folder, tmp_path):
    records[2]["file_name"] = str(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"'.*gone\.png' cannot be read"):
        filled_mapper(classifier(), records, folder)
