"""Partial-1: the last block is trained (placement last_2 of its tuning: two)."""

from detectron2.config import LazyCall as L

from bpt_det.vit.tuning import TrainedBlocks

method = dict(
    label="Partial-1",
    about="the last block",
    settings=dict(prompt=None, tuning=L(TrainedBlocks)(placement="last_1")),
    statistics=None,
)
