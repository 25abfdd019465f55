"""Batching: images run together only where padding is the same."""

import pytest
import torch
from detectron2.layers.mask_ops import paste_masks_in_image
from detectron2.structures import Boxes, Instances, ROIMasks
from torch import nn

from bpt_det.detection import PromptedViTBackbone, SimpleFeaturePyramid
from bpt_det.inference.batching import predict_batch, with_run_lengths
from tests.support.vits import tiny_vit


class Recorder(nn.Module):
    """Records the sizes of the images that it is given together."""

    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.sizes = []

    def forward(self, batch):
        self.sizes.append([tuple(sample["image"].shape[-2:]) for sample in batch])
        return [{"instances": Instances(size, scores=torch.ones(1))} for size in self.sizes[-1]]


def pyramid(square_pad):
    """A pyramid whose coarsest level has a stride of 8."""
    net = PromptedViTBackbone(tiny_vit())  # of stride 4
    return SimpleFeaturePyramid(net, "last_feat", 5, [1.0, 0.5], square_pad=square_pad)


SIZES = [(10, 15), (9, 16), (30, 15), (14, 10)]


@pytest.mark.parametrize(
    ("backbone", "groups"),
    [
        (pyramid(0), [[(10, 15), (9, 16), (14, 10)], [(30, 15)]]),
        (pyramid(24), [[(10, 15), (9, 16), (14, 10)], [(30, 15)]]),
        (pyramid(32), [SIZES]),
        (nn.Identity(), [[size] for size in SIZES]),
    ],
)
def test_images_run_together_if_they_are_padded_alike(backbone, groups):
    model = Recorder(backbone)
    batch = [{"image": torch.zeros(3, *size)} for size in SIZES]
    predictions = predict_batch(model, batch)
    assert model.sizes == groups
    assert [instances.image_size for instances in predictions] == SIZES


@pytest.mark.parametrize("form", ["roi_masks", "pred_masks"])
def test_masks_of_a_part_lie_where_the_part_does(form):
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(2, 7, 7, generator=generator)
    boxes = torch.tensor([[1.5, 2, 9, 11.2], [4, 0, 16, 12]])
    part = Instances((12, 16), pred_boxes=Boxes(boxes))
    inside = paste_masks_in_image(small, boxes, (12, 16))
    part.set(form, ROIMasks(small) if form == "roi_masks" else inside)
    placed = with_run_lengths(part, offset=(5, 3), size=(20, 30))
    assert placed.image_size == (20, 30) and part.pred_boxes.tensor.equal(boxes)
    assert placed.pred_boxes.tensor.equal(boxes + torch.tensor([5, 3, 5, 3]))
    expected = torch.zeros(2, 20, 30, dtype=torch.bool)
    expected[:, 3:15, 5:21] = inside
    assert torch.equal(torch.stack(list(placed.pred_masks)), expected) and expected.any()
