"""Pyramid levels: heads read what the pyramid gives, or one line says what does not fit."""

import pytest

from bpt_det.config import get_config
from bpt_det.detection.levels import check_levels
from bpt_det.utils.errors import InputError
from tests.support.detectors import DETECTION_CONFIGS

PATCH, SCALES = "model.backbone.net.vit.patch_size", "model.backbone.scale_factors"


@pytest.mark.heavy
def test_every_config_fits():
    for leaf in DETECTION_CONFIGS:
        check_levels(get_config(leaf))


@pytest.mark.parametrize(
    ("base", "overrides", "expected"),
    [
        ("shapes/cascade", [f"{PATCH}=16"], r"p2, but .*; take .*=\[4.0, 2.0, 1.0\], or"),
        ("coco/cascade", [f"{PATCH}=8"], "p6, but .* gives p1, .*; take a ViT of another patch"),
        ("coco/cascade", ["model.backbone.top_block=null"], "p6, but"),
        (
            "coco/cascade",
            ["model.roi_heads.box_pooler.scales=[0.125,0.125,0.0625,0.03125]"],
            "scales is 0.125 for p2, whose stride is 4",
        ),
    ],
)
def test_levels_that_are_not_there_or_of_another_stride_are_one_line(base, overrides, expected):
    with pytest.raises(InputError, match=expected) as caught:
        check_levels(get_config(base, *overrides))
    assert "\n" not in str(caught.value)


def test_a_larger_patch_fits_with_other_scales():
    check_levels(get_config("shapes/cascade", f"{PATCH}=16", f"{SCALES}=[4.0,2.0,1.0]"))
