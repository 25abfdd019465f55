"""AdaptFormer: a bottleneck beside the MLP of every block."""

from detectron2.config import LazyCall as L

from bpt_det.vit.tuning import AdaptFormer

method = dict(
    label="AdaptFormer",
    about="bottlenecks beside MLPs",
    settings=dict(
        prompt=None, tuning=L(AdaptFormer)(bottleneck=64, scale=0.1, dropout=0.1, placement="all")
    ),
    statistics=None,
)
