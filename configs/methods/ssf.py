"""SSF: a scale and a shift of the features after each operation of every block."""

from detectron2.config import LazyCall as L

from bpt_det.vit.tuning import SSF

method = dict(
    label="SSF",
    about="scales and shifts of features",
    settings=dict(prompt=None, tuning=L(SSF)(placement="all")),
    statistics=None,
)
