"""Custom data: what the adapters of the tasks share."""

import pytest
from omegaconf import OmegaConf

from bpt_det.config.custom_data import chosen_keys, set_num_classes
from bpt_det.utils.errors import InputError


def test_chosen_keys_are_those_of_the_overrides_however_they_are_written():
    overrides = ["model.num_classes=3", "+train.note=a=b", "data = x"]
    assert chosen_keys(overrides) == {"model.num_classes", "train.note", "data"}


@pytest.mark.parametrize(
    ("configured", "chosen"), [(80, set()), (3, {"model.num_classes"}), (3, set())]
)
def test_the_number_of_classes_is_that_of_the_data(configured, chosen):
    cfg = OmegaConf.create({"model": {"num_classes": configured}})
    set_num_classes(cfg, "model.num_classes", ["ash", "elm", "fir"], "mine", chosen)
    assert cfg.model.num_classes == 3


def test_another_number_that_was_chosen_is_refused_with_both():
    cfg = OmegaConf.create({"model": {"num_classes": 7}})
    text = r"model\.num_classes=7 contradicts the 3 classes of mine \(ash, elm, fir\)"
    with pytest.raises(InputError, match=text):
        set_num_classes(
            cfg, "model.num_classes", ["ash", "elm", "fir"], "mine", {"model.num_classes"}
        )
