"""Tiles of a large image, and one set of predictions from theirs.

Objects are merged as by GREEDYNMM of obss/sahi: the one of the best score takes in all others of
its class of which the smaller of both shares more than a threshold with the other. Here it takes in
none of its own tile, since the detector has told them apart, and overlap is that of masks where
there are masks. Two of one tile still become one where an object of a better score, in another tile
or in the whole image, takes in both.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from detectron2.structures import Boxes, Instances
from detectron2.structures.boxes import pairwise_intersection

from bpt_det.data.run_length_masks import RunLengthMasks
from bpt_det.utils.errors import InputError, check_count

from .defaults import LEAST_TILE, MAX_OVERLAP


def tile_boxes(height: int, width: int, tile: int, overlap: float) -> list[tuple[int, ...]]:
    """Return tiles that cover an image, evenly spread, as XYXY pixels.

    Args:
        height: of the image, and
        width: of it.
        tile: side in pixels, 16 or more; an image that is smaller along an axis has one tile
            along it.
        overlap: of neighbors, at least; share of the side, in [0, 0.9].

    Raises:
        InputError: an argument is out of range.
    """
    check_count("tile", tile, LEAST_TILE)
    if not 0 <= overlap <= MAX_OVERLAP:
        raise InputError(
            f"overlap must be a share of the tile in [0, {MAX_OVERLAP}], got {overlap}; 0.2 lets "
            "tiles share a fifth of their side."
        )
    rows, columns = (_starts(length, tile, overlap) for length in (height, width))
    return [(x, y, min(x + tile, width), min(y + tile, height)) for y in rows for x in columns]


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    if length <= tile:
        return [0]
    step = max(1, math.floor(tile * (1 - overlap)))
    count = 1 + math.ceil((length - tile) / step)
    return np.linspace(0, length - tile, count).astype(int).tolist()


def merge_predictions(parts: Sequence[Instances], threshold: float = 0.5) -> Instances:
    """Return the objects of several tiles, each once, the best score first.

    Args:
        parts: predictions on the CPU in each tile, in pixels of the whole image; masks, if any,
            as `RunLengthMasks`.
        threshold: see above; in (0, 1).
    """
    sources = torch.cat([torch.full((len(part),), i) for i, part in enumerate(parts)])
    objects = Instances.cat(list(parts)) if len(parts) > 1 else parts[0]
    order = objects.scores.argsort(descending=True, stable=True)
    objects, sources = objects[order], sources[order]
    is_left = torch.ones(len(objects), dtype=torch.bool)
    kept, boxes, masks = [], [], []
    for index in range(len(objects)):
        if not is_left[index]:
            continue
        group = is_left & (objects.pred_classes == objects.pred_classes[index])
        group &= sources != sources[index]
        members = group.nonzero()[:, 0]
        members = members[_shares(objects[members], objects[index]) > threshold]
        members = torch.cat([torch.tensor([index]), members])
        is_left[members] = False
        kept.append(index)
        corners = objects.pred_boxes.tensor[members]
        boxes.append(torch.cat([corners[:, :2].amin(dim=0), corners[:, 2:].amax(dim=0)]))
        if objects.has("pred_masks"):
            chosen = objects.pred_masks[members]
            masks.append(chosen.union() if len(chosen) > 1 else chosen.codes[0])
    fields = objects[torch.tensor(kept, dtype=torch.long)].get_fields()
    fields["pred_boxes"] = Boxes(torch.stack(boxes) if boxes else torch.zeros(0, 4))
    if "pred_masks" in fields:
        fields["pred_masks"] = RunLengthMasks(masks)
    return Instances(objects.image_size, **fields)


def _shares(others: Instances, single: Instances) -> torch.Tensor:
    """Return the share that the smaller of each pair has in common with the other, (N,)."""
    common = pairwise_intersection(others.pred_boxes, single.pred_boxes)[:, 0]
    if not others.has("pred_masks"):
        return common / torch.minimum(others.pred_boxes.area(), single.pred_boxes.area())
    shares = torch.zeros(len(others))
    near = common.nonzero()[:, 0]
    if len(near):
        masks = others.pred_masks[near]
        pixels = masks.intersections(single.pred_masks)[:, 0]
        least = np.minimum(masks.areas, single.pred_masks.areas).clip(min=1)
        shares[near] = torch.as_tensor(pixels / least, dtype=torch.float32)
    return shares
