"""Custom data of pre-training: what a config becomes by the images that it names."""

import pytest
from omegaconf import OmegaConf

from bpt_det.pretraining import image_sets, use_pretraining_data
from bpt_det.utils.errors import InputError
from tests.support.class_trees import write_image


@pytest.fixture
def cfg(tmp_path, monkeypatch):
    for i in range(60):
        write_image(tmp_path / f"photos/{i:02d}.png", (i, 0, 255 - i))
    monkeypatch.chdir(tmp_path)

    def dataset(split):
        return {"dataset": {"train": "${data.train}", "val": "${data.val}", "split": split}}

    return OmegaConf.create(
        {
            "data": {"train": "photos", "val": None},
            "model": {"encoder": {}},
            "dataloader": {
                "train": {**dataset("train"), "total_batch_size": 10},
                "test": dataset("val"),
            },
            "train": {"epochs": 4, "max_iter": 999},
        }
    )


def test_both_loaders_share_one_listing_of_the_images(cfg, tmp_path, monkeypatch):
    splits = use_pretraining_data(cfg)
    assert cfg.data.train == str(tmp_path / "photos")
    assert cfg.train.max_iter == 4 * 5  # whole batches of 59 images
    monkeypatch.setattr(image_sets, "FileTree", lambda *_: pytest.fail("listed again"))
    assert {key: len(load()) for key, load in splits.items()} == {"train": 59, "test": 1}


def test_data_may_be_named_in_short_and_a_loader_of_other_images_is_left_alone(cfg, tmp_path):
    cfg.data = "photos"
    cfg.dataloader.test.dataset.val = str(tmp_path)
    assert set(use_pretraining_data(cfg)) == {"train"}
    assert cfg.data.val is None


def test_a_folder_of_validation_images_is_found_from_any_folder(cfg, tmp_path):
    for i in range(3):
        write_image(tmp_path / f"others/{i}.png", (i, 255, 0))
    cfg.data.val = "others"
    splits = use_pretraining_data(cfg)
    assert cfg.data.val == str(tmp_path / "others")
    assert {key: len(load()) for key, load in splits.items()} == {"train": 60, "test": 3}


@pytest.mark.parametrize("key", ["model", "data"])
def test_a_config_of_another_task_is_refused(cfg, key):
    cfg[key] = {}
    with pytest.raises(InputError, match=r"lacks model\.encoder or data\.train"):
        use_pretraining_data(cfg)
