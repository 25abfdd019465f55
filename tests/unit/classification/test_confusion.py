"""Counts of confusions, and the choice of pairs and examples."""

import logging

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import confusion_matrix

from bpt_det.classification.class_predictions import count_images, rank_classes
from bpt_det.classification.confusion import (
    count_confusions,
    find_pairs,
    rank_pairs,
    write_most_confused,
)
from bpt_det.visualization.confusion_sheet import ConfusedPair, Example
from tests.support.predictions import CLASS_NAMES, LABELS, faulty, make_samples, predict

K = len(CLASS_NAMES)

# Class 0: 4 images, three of which are taken for 1 and one for 2. Class 1: 6 images, three of
# which are taken for 0. Class 2: one image, taken for 0, and one without a result. Class 3: none.
PREDICTIONS = [
    *predict(
        *((0, 1, 0.5), (0, 2, 0.6), (0, 1, 0.9), (0, 1, 0.7)),
        *((1, 0, 0.3), (1, 1, 0.8), (1, 0, 0.3), (1, 1, 0.8), (1, 1, 0.95), (1, 0, 0.4)),
        (2, 0, 0.35),
    ),
    faulty(2),
]


def test_counts_equal_a_loop_and_scikit_learn():
    logits = torch.randn(len(LABELS), K, generator=torch.Generator().manual_seed(2))
    predictions = rank_classes(make_samples(), logits)
    expected = np.zeros((K, K), dtype=int)
    for label, row in zip(LABELS, logits.tolist(), strict=True):
        expected[label, row.index(max(row))] += 1
    counts = count_confusions(predictions, K)
    assert counts.tolist() == expected.tolist() != expected.T.tolist()
    second_opinion = confusion_matrix(LABELS, logits.argmax(dim=1), labels=range(K))
    assert counts.tolist() == second_opinion.tolist()


def test_an_image_without_a_result_is_counted_as_an_image_but_not_as_a_confusion():
    assert count_confusions(PREDICTIONS, 4).tolist() == [
        [0, 3, 1, 0],
        [3, 3, 0, 0],
        [1, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    assert count_images(PREDICTIONS, 4).tolist() == [4, 6, 2, 0]
    assert count_images([], 4).tolist() == [0, 0, 0, 0]


def test_pairs_are_ordered_by_count_then_share_then_index():
    counts = count_confusions(PREDICTIONS, 4)
    assert rank_pairs(counts, count_images(PREDICTIONS, 4)) == [(0, 1), (1, 0), (2, 0), (0, 2)]
    equal = np.array([[5, 2, 2], [2, 5, 0], [0, 0, 5]])
    assert rank_pairs(equal, np.array([9, 9, 9])) == [(0, 1), (0, 2), (1, 0)]


NAMES = ["001.ash", "elm", "fir", "yew"]


def shown(*indexes):
    return [Example(PREDICTIONS[i].file_name, PREDICTIONS[i].probabilities[0]) for i in indexes]


def test_examples_are_the_most_confident_of_the_mistaken_and_of_the_recognized():
    assert find_pairs(PREDICTIONS, [(0, 1), (1, 0), (0, 2)], NAMES) == [
        ConfusedPair("ash", "elm", 3, num_images=4, mistaken=shown(2, 3, 0), correct=shown(8, 5)),
        ConfusedPair("elm", "ash", 3, num_images=6, mistaken=shown(9, 4, 6), correct=[]),
        ConfusedPair("ash", "fir", 1, num_images=4, mistaken=shown(1), correct=[]),
    ]


def test_examples_do_not_depend_on_the_order_of_the_images():
    pairs = [(0, 1), (1, 0)]
    assert find_pairs(PREDICTIONS, pairs, NAMES) == find_pairs(PREDICTIONS[::-1], pairs, NAMES)


def test_the_confusion_sheet_has_a_row_for_each_confused_pair(tmp_path):
    write_most_confused(tmp_path / "most_confused.png", PREDICTIONS, NAMES, "val")
    assert Image.open(tmp_path / "most_confused.png").height == 122 + 212 * 4 + 14


def test_without_confusions_an_earlier_sheet_goes_and_a_line_says_so(tmp_path, caplog):
    path = tmp_path / "most_confused.png"
    path.touch()
    with caplog.at_level(logging.INFO):
        write_most_confused(path, [*predict((0, 0, 0.5)), faulty(0)], NAMES, "val")
    assert not path.exists()
    assert caplog.messages == ["No val image was misclassified, so there is no most_confused.png"]
