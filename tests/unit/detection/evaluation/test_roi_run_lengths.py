"""Run lengths of masks within boxes, against Detectron2's pasting and pycocotools' encoding."""

import numpy as np
import pytest
import torch
from detectron2.layers import paste_masks_in_image
from pycocotools import mask as coco_mask

from bpt_det.detection.evaluation.roi_run_lengths import encode_roi_masks

HEIGHT, WIDTH = 173, 219
EDGES = {
    "the whole image": [0, 0, WIDTH, HEIGHT],
    "all rows": [40.5, 0, 71.25, HEIGHT],
    "all rows at the left": [0, 0, 9.5, HEIGHT],
    "all rows at the right": [200, 0, WIDTH, HEIGHT],
    "all rows but one": [30, 0, 60, HEIGHT - 2],
    "all columns": [0, 33, WIDTH, 80],
    "top left": [0, 0, 12.3, 20.2],
    "bottom right": [150.7, 120.1, WIDTH, HEIGHT],
    "a part of a pixel": [17.1, 23.2, 17.4, 23.9],
    "a thin line": [5, 60.2, 200, 60.3],
    "the last pixel": [WIDTH - 0.5, HEIGHT - 0.5, WIDTH, HEIGHT],
}
CONTENTS = {
    "noise": lambda generator, side: torch.rand(side, side, generator=generator),
    "on": lambda generator, side: torch.ones(side, side),
    "off": lambda generator, side: torch.zeros(side, side),
    "at the threshold": lambda generator, side: torch.full((side, side), 0.5),
    "near the threshold": lambda generator, side: (
        0.5 + 1e-6 * torch.randn(side, side, generator=generator)
    ),
}


def pasted_and_encoded(masks, boxes, size):
    encoded = []
    for mask in paste_masks_in_image(masks, boxes, size):
        run_lengths = coco_mask.encode(np.asfortranarray(mask.numpy(), dtype=np.uint8))
        counts = run_lengths["counts"].decode()
        encoded.append({"size": list(run_lengths["size"]), "counts": counts})
    return encoded


def random_boxes(number, generator):
    corners = torch.rand(2, number, 2, generator=generator) * torch.tensor([WIDTH, HEIGHT])
    return torch.cat([corners.amin(dim=0), corners.amax(dim=0) + 0.01], dim=1)


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("edge", EDGES)
def test_boxes_at_edges_are_encoded_as_detectron2_does(edge, content):
    generator = torch.Generator().manual_seed(1)
    boxes = torch.tensor([EDGES[edge]])
    masks = CONTENTS[content](generator, 28)[None]
    size = (HEIGHT, WIDTH)
    assert encode_roi_masks(masks, boxes, size) == pasted_and_encoded(masks, boxes, size)


@pytest.mark.parametrize("side", [14, 28, 31])
def test_many_masks_of_all_kinds_in_one_call(side):
    """More than are computed together; each kind stands beside each other kind."""
    generator = torch.Generator().manual_seed(side)
    boxes = torch.cat([random_boxes(40, generator), torch.tensor(list(EDGES.values()))])
    kinds = list(CONTENTS.values())
    masks = torch.stack([kinds[i % 5](generator, side) for i in range(len(boxes))])
    encoded = encode_roi_masks(masks, boxes, (HEIGHT, WIDTH))
    assert encoded == pasted_and_encoded(masks, boxes, (HEIGHT, WIDTH))


def test_smooth_masks_in_a_large_image():
    """Runs of many pixels take up to five characters."""
    generator = torch.Generator().manual_seed(4)
    scale = torch.tensor([8.0, 12.0, 8.0, 12.0])
    boxes, size = random_boxes(6, generator) * scale, (12 * HEIGHT, 8 * WIDTH)
    axis = torch.linspace(-1, 1, 28)
    distance = axis[:, None] ** 2 + axis**2 + 0.1 * torch.randn(6, 28, 28, generator=generator)
    masks = torch.sigmoid(6 * (0.8 - distance))
    boxes[:, 2:] = torch.minimum(boxes[:, 2:], torch.tensor(size[::-1]))
    assert encode_roi_masks(masks, boxes, size) == pasted_and_encoded(masks, boxes, size)


def test_another_threshold():
    generator = torch.Generator().manual_seed(3)
    boxes, masks = random_boxes(5, generator), torch.rand(5, 28, 28, generator=generator)
    pasted = paste_masks_in_image(masks, boxes, (HEIGHT, WIDTH), threshold=0.7)
    encoded = encode_roi_masks(masks, boxes, (HEIGHT, WIDTH), threshold=0.7)
    assert np.array_equal(coco_mask.decode(encoded).transpose(2, 0, 1), pasted.numpy())


def test_no_masks_give_none():
    assert encode_roi_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (7, 9)) == []
