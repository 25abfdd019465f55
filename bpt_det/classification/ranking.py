"""What is kept of a classified image: its likeliest classes and its loss, not all its logits."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

NUM_RANKED = 5


class Prediction(NamedTuple):
    """The result of one image.

    Args:
        image_id: path within the dataset.
        file_name: for `read_stored`.
        label: index of the true class.
        ranked: indices of the likeliest classes, the likeliest first, at most `NUM_RANKED`; empty
            if the logits are not finite.
        probabilities: of those classes, in [0, 1].
        loss: cross entropy in nats; nan if the logits are not finite.
    """

    image_id: str
    file_name: str
    label: int
    ranked: tuple[int, ...]
    probabilities: tuple[float, ...]
    loss: float

    @property
    def is_finite(self) -> bool:
        return bool(self.ranked)

    @property
    def is_correct(self) -> bool:
        return self.ranked[:1] == (self.label,)

    @property
    def is_in_top5(self) -> bool:
        return self.label in self.ranked


def rank_classes(samples: Sequence[Mapping], logits: Tensor) -> list[Prediction]:
    """Return one prediction per sample; of equal logits the class of lower index comes first.

    Args:
        samples: each with ``image_id``, ``file_name`` and ``label`` in [0, K).
        logits: (B, K).
    """
    logits = logits.detach().cpu().double()
    log_probabilities = logits.log_softmax(dim=1)
    order = logits.sort(dim=1, descending=True, stable=True).indices[:, :NUM_RANKED]
    rows = zip(
        samples,
        logits.isfinite().all(dim=1).tolist(),
        order.tolist(),
        log_probabilities.gather(1, order).exp().tolist(),
        (-log_probabilities.gather(1, _labels(samples))).squeeze(1).tolist(),
        strict=True,
    )
    return [
        Prediction(
            sample["image_id"],
            sample["file_name"],
            sample["label"],
            tuple(ranked) if is_finite else (),
            tuple(probabilities) if is_finite else (),
            loss if is_finite else math.nan,
        )
        for sample, is_finite, ranked, probabilities, loss in rows
    ]


def _labels(samples: Sequence[Mapping]) -> Tensor:
    return torch.tensor([[sample["label"]] for sample in samples])
