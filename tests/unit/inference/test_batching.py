import pytest
import torch
from detectron2.structures import Instances
from torch import nn

from bpt_det.detection import SimpleFeaturePyramid
from bpt_det.inference.batching import predict_batch


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
    """Stands for a pyramid of stride 32; what it computes plays no part."""
    backbone = SimpleFeaturePyramid.__new__(SimpleFeaturePyramid)
    nn.Module.__init__(backbone)
    backbone.square_pad, backbone._size_divisibility = square_pad, 32
    return backbone


SIZES = [(40, 60), (33, 64), (90, 60), (50, 40)]


@pytest.mark.parametrize(
    ("backbone", "groups"),
    [
        (pyramid(0), [[(40, 60), (33, 64), (50, 40)], [(90, 60)]]),
        (pyramid(64), [[(40, 60), (33, 64), (50, 40)], [(90, 60)]]),
        (pyramid(96), [SIZES]),
        (nn.Identity(), [[size] for size in SIZES]),
    ],
)
def test_images_run_together_if_they_are_padded_alike(backbone, groups):
    model = Recorder(backbone)
    batch = [{"image": torch.zeros(3, *size)} for size in SIZES]
    predictions = predict_batch(model, batch)
    assert model.sizes == groups
    assert [instances.image_size for instances in predictions] == SIZES
