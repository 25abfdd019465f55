"""Probes of patches: their labels, their classifier, and what is counted."""

import importlib.util

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from sklearn.linear_model import Ridge


@pytest.fixture(scope="module")
def script(repository_root):
    path = repository_root / "docs/scripts/probe_layers.py"
    spec = importlib.util.spec_from_file_location("probe_layers", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_patch_has_the_class_of_the_smallest_object_under_its_center(script):
    """3 x 3 patches of an image of 12 x 30 pixels: centers at rows 2, 6, 10, columns 5, 15, 25."""
    small, crowd = np.zeros((2, 12, 30), order="F", dtype=np.uint8)
    small[6, 5] = 1
    crowd[8:, 20:] = 1
    codes = [coco_mask.encode(np.asfortranarray(mask)) for mask in (small, crowd)]
    upper_left = [[0, 0, 18, 0, 18, 9, 0, 9]]
    record = {
        "height": 12,
        "width": 30,
        "annotations": [
            {"category_id": 4, "segmentation": codes[0]},
            {"category_id": 1, "segmentation": upper_left},
            {"category_id": 1, "segmentation": codes[1], "iscrowd": 1},
        ],
    }
    labels = script.label_patches(record, 3, no_object=7)
    assert labels.tolist() == [1, 1, 7, 4, 1, 7, 7, 7, -1]


def test_the_classifier_is_ridge_regression(script):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 5, generator=generator, dtype=torch.float64)
    features -= features.mean(0)
    labels = torch.randint(0, 3, (40,), generator=generator)
    targets = torch.nn.functional.one_hot(labels, 3).double().numpy()
    weights = script.fit_ridge(features, labels, 3)
    for penalty, found in zip(script._PENALTIES, weights, strict=True):
        expected = Ridge(alpha=penalty).fit(features.numpy(), targets).coef_.T
        torch.testing.assert_close(found, torch.from_numpy(expected))


def test_iou_is_averaged_over_the_classes_of_objects_that_occur(script):
    labels = torch.tensor([0, 0, 0, 2, 3, 3])  # 3 is no object, 1 does not occur
    predicted = torch.tensor([0, 0, 2, 2, 0, 1])
    iou, share = script.measure(predicted, labels, no_object=3)
    assert iou == pytest.approx(100 * (2 / 4 + 1 / 2) / 2)
    assert share == pytest.approx(100 * 3 / 4)
