"""LoRA: low-rank changes of every linear layer of every block."""

from detectron2.config import LazyCall as L

from bpt_det.vit.tuning import LoRA

method = dict(
    label="LoRA (all)",
    about="low-rank changes of all layers",
    settings=dict(
        prompt=None,
        tuning=L(LoRA)(
            rank=8, targets=["q", "k", "v", "proj", "mlp"], alpha=None, dropout=0.0, placement="all"
        ),
    ),
    statistics=None,
)
