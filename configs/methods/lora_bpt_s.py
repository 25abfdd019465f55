"""BPT-S and LoRA together: shallow bilinear prompts, low-rank changes of queries and values."""

from detectron2.config import LazyCall as L

from bpt_det.vit.tuning import LoRA

from ..common.prompts import bilinear as _prompt

method = dict(
    label="BPT-S + LoRA",
    about="bilinear, and low-rank changes of q, v",
    settings=dict(
        prompt=_prompt,
        placement="shallow",
        tuning=L(LoRA)(rank=8, targets=["q", "v"], alpha=None, dropout=0.0, placement="all"),
    ),
    statistics=None,
)
