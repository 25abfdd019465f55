"""RoI pooling on the CPU: each bin of a region as a weighted sum of cells.

Shape legend: R regions, Y and X bins of a region, K cells of a bin along one axis, C channels.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from detectron2.modeling.poolers import ROIPooler, assign_boxes_to_levels
from detectron2.structures import Boxes
from torch import Tensor


class EmbeddingBagROIPooler(ROIPooler):
    """Detectron2's `ROIPooler`, whose RoIAlign on the CPU is one `embedding_bag` over all levels.

    Equal to it to float error. torchvision's CPU kernel visits the channels of a cell one by one,
    a whole map apart, and its gradient in one thread. Here a cell is a row with all its channels,
    and a bin sums each of its cells once, however many samples share them.

    On a GPU, in an export, without regions, and for other settings than ``ROIAlignV2`` with
    ``sampling_ratio`` 0 or 1, it is Detectron2's own. Regions that are not finite, or
    of a negative area, are zero.

    Args:
        output_size, scales, sampling_ratio, pooler_type, canonical_box_size, canonical_level: of
            `ROIPooler`.
    """

    def forward(self, x: list[Tensor], box_lists: list[Boxes]) -> Tensor:
        """Return the regions of maps (B, C, H, W), one box list for each image: (R, C, Y, X)."""
        if not self._uses_embedding_bag(x, box_lists):
            return super().forward(x, box_lists)
        dtype = torch.promote_types(x[0].dtype, torch.float32)
        regions = torch.cat([boxes.tensor for boxes in box_lists]).detach().to(dtype)
        num_regions = torch.tensor([len(boxes) for boxes in box_lists])
        image = torch.repeat_interleave(torch.arange(len(box_lists)), num_regions)
        level = assign_boxes_to_levels(
            box_lists,
            self.min_level,
            self.max_level,
            self.canonical_box_size,
            self.canonical_level,
        )
        has_level = (level >= 0) & (level < len(x))  # not the NaN of a negative area
        regions = torch.where(has_level[:, None], regions, torch.nan)
        level = torch.where(has_level, level, 0)
        heights, widths = (torch.tensor([maps.shape[axis] for maps in x]) for axis in (2, 3))
        sizes = len(box_lists) * heights * widths
        height, width = heights[level], widths[level]
        first = (sizes.cumsum(0) - sizes)[level] + image * height * width

        scales = torch.tensor([pooler.spatial_scale for pooler in self.level_poolers])
        x0, y0, x1, y1 = (regions * scales[level, None] - 0.5).unbind(1)
        sampling_ratio = self.level_poolers[0].sampling_ratio
        num_rows, num_columns = self.output_size
        rows = _sampled_cells(y0, y1 - y0, num_rows, height, sampling_ratio)
        columns = _sampled_cells(x0, x1 - x0, num_columns, width, sampling_ratio)
        rows = rows._replace(cells=rows.cells * width[:, None, None] + first[:, None, None])

        table = torch.cat([maps.permute(0, 2, 3, 1).flatten(0, 2) for maps in x])
        cells, weights, offsets = _combine(rows, columns)
        bins = F.embedding_bag(
            cells, table.to(dtype), offsets, mode="sum", per_sample_weights=weights
        )
        pooled = bins.view(len(regions), num_rows, num_columns, -1).permute(0, 3, 1, 2)
        return pooled.to(table.dtype)

    def _uses_embedding_bag(self, x: list[Tensor], box_lists: list[Boxes]) -> bool:
        pooler = self.level_poolers[0]
        return (
            x[0].device.type == "cpu"
            and getattr(pooler, "aligned", False)
            and pooler.sampling_ratio in (0, 1)
            and any(len(boxes) for boxes in box_lists)
            and not (torch.jit.is_tracing() or torch.compiler.is_compiling())
        )


class _AxisCells(NamedTuple):
    """The cells along one axis that a bin sums."""

    cells: Tensor  # (R, bins, K)
    weights: Tensor  # (R, bins, K)
    counts: Tensor  # (R,): how many of the K a bin of the region has


def _sampled_cells(
    start: Tensor, length: Tensor, num_bins: int, num_cells: Tensor, sampling_ratio: int
) -> _AxisCells:
    """Return the cells of RoIAlign's samples along one axis.

    A bin has as many samples as its length has cells, rounded up, or one (``sampling_ratio`` 1).
    They are at most a cell apart, so those of a bin with n samples lie between n + 1 cells.

    Args:
        start, length: of the regions in cells, (R,).
        num_cells: of the axis of each region's map, (R,).
    """
    step = length / num_bins
    finite = torch.isfinite(start) & torch.isfinite(step)
    num_samples = step.ceil().clamp(min=0) if sampling_ratio == 0 else torch.ones_like(step)
    num_samples = torch.where(finite, num_samples, 0).long()
    most = max(1, int(num_samples.max()))
    samples = torch.arange(most)
    step, divisor = step[:, None, None], num_samples.clamp(min=1)[:, None, None]
    bins = torch.arange(num_bins)[:, None]
    at = start[:, None, None] + bins * step + (samples + 0.5).to(step.dtype) * step / divisor
    last = (num_cells - 1)[:, None, None]
    # As in torchvision: a sample more than a cell outside of the map counts nothing.
    counted = (samples < num_samples[:, None, None]) & (at >= -1) & (at <= last + 1)
    at = torch.where(counted, at, 0.0).clamp(min=0).minimum(last.to(at.dtype))

    below = at.floor().long()
    first = torch.where(counted, below, last).amin(2, keepdim=True)
    # Rounding can put a sample past cell n - 1 of its bin: it stays there, with a share of 1.
    offset = (below - first).clamp(min=0).minimum((num_samples - 1).clamp(min=0)[:, None, None])
    share = torch.where(counted, at - (first + offset), 0.0)
    weights = at.new_zeros(*at.shape[:2], most + 1)
    weights.scatter_add_(2, offset, torch.where(counted, 1 - share, 0.0))
    weights.scatter_add_(2, offset + 1, share)
    cells = (first + torch.arange(most + 1)).minimum(last)
    return _AxisCells(cells, weights / divisor, num_samples + 1)


def _combine(rows: _AxisCells, columns: _AxisCells) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cells of all bins in a row, their weights, and where each bin begins, (R·Y·X,)."""
    num_regions, num_rows, row_cells = rows.cells.shape
    _, num_columns, column_cells = columns.cells.shape
    bins = num_regions, num_rows, num_columns
    sizes = (rows.counts * columns.counts)[:, None, None].expand(bins).flatten()
    offsets = sizes.cumsum(0) - sizes
    bag = torch.repeat_interleave(torch.arange(len(sizes)), sizes)

    region = torch.arange(num_regions)[:, None, None]
    row = (region * num_rows + torch.arange(num_rows)[:, None]) * row_cells
    column = (region * num_columns + torch.arange(num_columns)) * column_cells
    within = torch.arange(len(bag)) - offsets[bag]
    width = columns.counts[:, None, None].expand(bins).flatten()[bag]
    down = torch.div(within, width, rounding_mode="floor")
    row = row.expand(bins).flatten()[bag] + down
    column = column.expand(bins).flatten()[bag] + within - down * width

    cells = rows.cells.flatten()[row] + columns.cells.flatten()[column]
    return cells, rows.weights.flatten()[row] * columns.weights.flatten()[column], offsets
