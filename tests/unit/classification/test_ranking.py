"""What is kept of a classified image."""

import math

import pytest
import torch

from bpt_det.classification.ranking import rank_classes
from tests.support.predictions import make_samples


def rank(logits, label=0):
    return rank_classes(make_samples([label]), torch.tensor([logits]))[0]


def test_the_five_likeliest_classes_are_kept_with_their_softmax():
    logits = [0.5, -1.0, 2.0, 0.25, 3.0, -2.0, 1.0]
    total = sum(math.exp(logit) for logit in logits)
    prediction = rank(logits, label=2)
    assert prediction.ranked == (4, 2, 6, 0, 3)
    assert prediction.probabilities == pytest.approx(
        [math.exp(logits[index]) / total for index in prediction.ranked]
    )
    assert prediction.loss == pytest.approx(-math.log(math.exp(2.0) / total))
    assert prediction[:3] == ("images/000.jpg", "/data/000.jpg", 2)


def test_of_equal_logits_the_class_of_lower_index_comes_first():
    assert rank([1.0, 2.0, 1.0, 2.0, 2.0, 1.0, 1.0, 0.0]).ranked == (1, 3, 4, 0, 2)
    assert rank([0.0] * 1000).ranked == (0, 1, 2, 3, 4)


def test_fewer_than_five_classes_are_all_kept():
    assert rank([0.0, 2.0, 1.0]).ranked == (1, 2, 0)


def test_an_image_is_correct_and_in_the_top_five_by_its_label():
    logits = [6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    ranks = [rank(logits, label) for label in range(6)]
    assert [prediction.is_correct for prediction in ranks] == [True] + [False] * 5
    assert [prediction.is_in_top5 for prediction in ranks] == [True] * 5 + [False]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_give_no_class(value):
    prediction = rank([1.0, value, 0.0], label=0)
    assert prediction.ranked == prediction.probabilities == ()
    assert not (prediction.is_finite or prediction.is_correct or prediction.is_in_top5)
    assert math.isnan(prediction.loss)


def test_half_precision_logits_with_a_graph_are_taken():
    logits = torch.tensor([[1.0, 3.0]], dtype=torch.bfloat16, requires_grad=True)
    assert rank_classes(make_samples([1]), logits)[0].loss == pytest.approx(
        math.log1p(math.exp(-2))
    )
