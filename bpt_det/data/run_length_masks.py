"""Masks of an image as run lengths, which take kilobytes where pixels take megabytes."""

from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np
import pycocotools.mask as mask_util
import torch
from torch import Tensor

from .rle import decode_counts, mask_areas


class RunLengthMasks:
    """Binary masks in COCO's compressed form: ``pred_masks`` of `Instances` of a large image.

    Indexed as a tensor (N, H, W) of bool is along its first axis. One mask at a time is decoded.

    Args:
        codes: ``size`` [H, W] and ``counts`` of each mask.
    """

    def __init__(self, codes: Sequence[dict]) -> None:
        self.codes = list(codes)

    @classmethod
    def from_pixels(cls, masks: Tensor) -> "RunLengthMasks":
        """Return masks (N, H, W), bool, in this form."""
        codes = []
        for mask in masks.cpu().numpy():
            code = mask_util.encode(np.asfortranarray(mask, dtype=np.uint8))
            codes.append({"size": code["size"], "counts": code["counts"].decode("ascii")})
        return cls(codes)

    @staticmethod
    def cat(parts: Sequence["RunLengthMasks"]) -> "RunLengthMasks":
        """Join masks of one image, as `Instances.cat` asks for."""
        return RunLengthMasks([code for part in parts for code in part.codes])

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, item: int) -> Tensor: ...
    @overload
    def __getitem__(self, item: slice | Tensor | Sequence) -> "RunLengthMasks": ...

    def __getitem__(self, item: int | slice | Tensor | Sequence) -> "Tensor | RunLengthMasks":
        """Return the mask of an index, (H, W) bool, or those of a slice, indexes or booleans."""
        if isinstance(item, int):
            return torch.from_numpy(mask_util.decode(self.codes[item]).astype(bool))
        indexes = torch.arange(len(self))[item]
        return RunLengthMasks([self.codes[index] for index in indexes.tolist()])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} masks)"

    def to_pixels(self) -> Tensor:
        """Return the masks as Detectron2 has them, (N, H, W) bool: N x H x W bytes."""
        return torch.stack(list(self)) if self.codes else torch.zeros((0, 0, 0), dtype=torch.bool)

    def resized(self, height: int, width: int) -> Iterator[np.ndarray]:
        """Yield each mask at another size, (H, W) bool, each pixel that of the nearest one.

        Only the pixels that are shown are looked up, so small pictures of large images are fast.
        """
        for code, (x, y, *sides) in zip(self.codes, self._boxes(), strict=True):
            mask = np.zeros((height, width), bool)
            rows = _nearest(height, code["size"][0], y, sides[1])
            columns = _nearest(width, code["size"][1], x, sides[0])
            ends = np.cumsum(decode_counts(code["counts"]))
            places = rows[1][:, None] + columns[1] * code["size"][0]
            mask[np.ix_(rows[0], columns[0])] = np.searchsorted(ends, places, side="right") % 2
            yield mask

    def _boxes(self) -> list[list[int]]:
        return mask_util.toBbox(self.codes).astype(int).tolist() if self.codes else []

    @property
    def areas(self) -> np.ndarray:
        """Pixels of each mask, (N,) int64."""
        return mask_areas(self.codes)

    def union(self) -> dict:
        """Return the code of all pixels that are in any of the masks."""
        code = mask_util.merge(self.codes)
        return {"size": code["size"], "counts": code["counts"].decode("ascii")}

    def intersections(self, other: "RunLengthMasks") -> np.ndarray:
        """Return the pixels that each mask has in common with each of another set, (N, M)."""
        if not self.codes or not other.codes:
            return np.zeros((len(self), len(other)))
        # Of a crowd, this is the share of the first mask's own area.
        shares = mask_util.iou(self.codes, other.codes, [True] * len(other))
        return shares * self.areas[:, None]


def _nearest(length: int, old_length: int, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indexes along a new axis whose nearest one of the old axis is in a range, and those.

    As OpenCV's INTER_NEAREST, which takes the pixel under a corner.
    """
    scale = 1 / (length / old_length)  # as there, to the last bit
    old = (np.arange(length) * scale).astype(int).clip(max=old_length - 1)
    chosen = np.flatnonzero((old >= start) & (old < start + count))
    return chosen, old[chosen]
