"""Federated loss: box predictor for datasets whose images are labeled for some classes only.

Shape legend: R regions, K num_classes; column K of the scores is the background.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.data import MetadataCatalog
from detectron2.modeling.roi_heads import FastRCNNOutputLayers
from detectron2.modeling.roi_heads.fast_rcnn import _log_classification_stats
from detectron2.structures import Instances
from torch import Tensor

from bpt_det.utils.errors import InputError, check_count


class ImageCountWeights:
    """Weights by which the federated loss samples classes: powers of their numbers of images.

    What ``get_fed_loss_cls_weights`` of Detectron2's main branch returns, without the list of
    LVIS's counts that its release 0.6 lacks: `load_dataset` counts those of any dataset.

    Args:
        dataset_names: registered name of the training dataset.
        freq_weight_power: exponent of the number of images of a class; ViTDet takes 0.5.

    Raises:
        InputError: ``freq_weight_power`` is negative.
    """

    def __init__(self, dataset_names: str, freq_weight_power: float = 0.5) -> None:
        if freq_weight_power < 0:
            raise InputError(
                f"freq_weight_power must be 0 or more, got {freq_weight_power}.",
                parameter="freq_weight_power",
            )
        self.dataset_names = dataset_names
        self.freq_weight_power = freq_weight_power

    def __call__(self) -> Tensor:
        """Return the weights, (K,).

        Raises:
            InputError: the dataset has not been loaded.
        """
        counts = MetadataCatalog.get(self.dataset_names).get("class_image_count")
        if counts is None:
            raise InputError(
                f"the numbers of images per class of '{self.dataset_names}' are not known; give "
                "dataset_names the name of the dataset that is trained on."
            )
        ordered = sorted(counts, key=lambda count: count["id"])
        numbers = torch.tensor([count["image_count"] for count in ordered])
        return numbers.float() ** self.freq_weight_power


class FederatedOutputLayers(FastRCNNOutputLayers):
    """Detectron2's box predictor with sigmoid scores, and a loss of some of the classes.

    Main's ``use_sigmoid_ce=True, use_fed_loss=True``, which release 0.6 lacks: binary cross entropy
    of the classes in the batch and of sampled ones, summed over classes and averaged over regions.
    Predicted are sigmoids. Source: arXiv:2103.07461 (CenterNet2), as in
    facebookresearch/detectron2@02b5c4e detectron2/modeling/roi_heads/fast_rcnn.py.

    The weights are asked for in the first training step, not when the model is built, so that
    inference needs no dataset. A checkpoint holds them, as main's does.

    Args:
        get_fed_loss_cls_weights: returns the sampling weights of the classes, (K,).
        fed_loss_num_classes: classes of a step at least, those in the batch among them; fewer where
            fewer have a weight.
        others: of `FastRCNNOutputLayers`; not the loss of boxes alone.

    Raises:
        InputError: ``fed_loss_num_classes`` is below 1; in the first step: the weights are of
            another number of classes than K.
    """

    fed_loss_cls_weights: Tensor

    def __init__(
        self,
        *,
        get_fed_loss_cls_weights: Callable[[], Tensor],
        fed_loss_num_classes: int = 50,
        **others: Any,
    ) -> None:
        super().__init__(**others)
        check_count("fed_loss_num_classes", fed_loss_num_classes)
        self.get_fed_loss_cls_weights = get_fed_loss_cls_weights
        self.fed_loss_num_classes = fed_loss_num_classes
        self.register_buffer("fed_loss_cls_weights", torch.zeros(self.num_classes))
        self._has_weights = False

    def losses(
        self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]
    ) -> dict[str, Tensor]:
        """Return ``loss_cls`` and ``loss_box_reg`` of scores (R, K + 1) and box deltas."""
        scores, deltas = predictions
        classes = _concatenate([p.gt_classes for p in proposals], scores.new_empty(0).long())
        _log_classification_stats(scores, classes)
        boxes = [p.proposal_boxes.tensor for p in proposals]
        targets = [
            p.gt_boxes.tensor if p.has("gt_boxes") else p.proposal_boxes.tensor for p in proposals
        ]
        none = deltas.new_empty(0, 4)
        losses = {
            "loss_cls": self.sigmoid_cross_entropy_loss(scores, classes),
            "loss_box_reg": self.box_reg_loss(
                _concatenate(boxes, none), _concatenate(targets, none), deltas, classes
            ),
        }
        return {name: loss * self.loss_weight.get(name, 1.0) for name, loss in losses.items()}

    def sigmoid_cross_entropy_loss(self, pred_class_logits: Tensor, gt_classes: Tensor) -> Tensor:
        """Return the loss of scores (R, K + 1) and classes (R,), K for the background; a scalar."""
        num_regions = len(pred_class_logits)
        if num_regions == 0:
            return pred_class_logits.sum()
        columns = self.sample_classes(gt_classes).nonzero().squeeze(1)  # the others count nothing
        scores = pred_class_logits[:, columns]
        target = (gt_classes[:, None] == columns).to(scores.dtype)
        return F.binary_cross_entropy_with_logits(scores, target, reduction="sum") / num_regions

    def sample_classes(self, gt_classes: Tensor) -> Tensor:
        """Return 1 for the classes of a step and 0 for others, (K,).

        The background counts as one of the classes that are there, as in Detectron2.
        """
        weights = self._weights().to(gt_classes.device)
        present = torch.unique(gt_classes)
        chosen = torch.zeros(self.num_classes + 1, device=gt_classes.device)
        chosen[present] = 1
        num_others = self.fed_loss_num_classes - len(present)
        if num_others > 0:
            probabilities = torch.cat([weights, weights.new_zeros(1)])  # not the background
            probabilities[present] = 0
            num_others = min(num_others, int((probabilities > 0).sum()))
        if num_others > 0:
            chosen[torch.multinomial(probabilities, num_others, replacement=False)] = 1
        return chosen[:-1]

    def predict_probs(
        self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]
    ) -> tuple[Tensor, ...]:
        """Return the sigmoids of the scores, image by image, (R of the image, K + 1) each."""
        scores, _ = predictions
        return scores.sigmoid().split([len(p) for p in proposals], dim=0)

    def _weights(self) -> Tensor:
        if not self._has_weights:
            weights = self.get_fed_loss_cls_weights()
            if len(weights) != self.num_classes:
                raise InputError(
                    f"the federated loss has the weights of {len(weights)} classes, but the model "
                    f"has num_classes={self.num_classes}; set num_classes={len(weights)}.",
                    parameter="num_classes",
                )
            self.fed_loss_cls_weights.copy_(weights)
            self._has_weights = True
        return self.fed_loss_cls_weights


def _concatenate(tensors: list[Tensor], none: Tensor) -> Tensor:
    """Return the rows of all tensors, or where there are no tensors ``none``."""
    return torch.cat(tensors) if tensors else none
