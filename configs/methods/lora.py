"""LoRA: low-rank changes of the queries and values of every block."""

from detectron2.config import LazyCall as L

from bpt_det.vit.tuning import LoRA

method = dict(
    label="LoRA (q, v)",
    about="low-rank changes of q, v",
    settings=dict(
        prompt=None,
        tuning=L(LoRA)(rank=8, targets=["q", "v"], alpha=None, dropout=0.0, placement="all"),
    ),
    statistics=None,
)
