"""Counts of confusions, and the choice of pairs and examples."""

import numpy as np
import torch
from sklearn.metrics import confusion_matrix

from bpt_det.classification.confusion import (
    ConfusedPair,
    count_confusions,
    count_images,
    find_examples,
    rank_pairs,
)
from bpt_det.classification.ranking import rank_classes
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


def test_examples_are_the_most_confident_of_the_mistaken_and_of_the_recognized():
    p = PREDICTIONS
    pairs = find_examples(p, [(0, 1), (1, 0), (0, 2)], 4, max_mistaken=2, max_correct=2)
    assert pairs == [
        ConfusedPair(0, 1, count=3, num_images=4, mistaken=(p[2], p[3]), correct=(p[8], p[5])),
        ConfusedPair(1, 0, count=3, num_images=6, mistaken=(p[9], p[4]), correct=()),
        ConfusedPair(0, 2, count=1, num_images=4, mistaken=(p[1],), correct=()),
    ]


def test_examples_do_not_depend_on_the_order_of_the_images():
    pairs = [(0, 1), (1, 0)]
    assert find_examples(PREDICTIONS, pairs, 4) == find_examples(PREDICTIONS[::-1], pairs, 4)
