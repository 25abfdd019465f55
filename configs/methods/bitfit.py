"""BitFit: the biases of every block are trained."""

from detectron2.config import LazyCall as L

from bpt_det.vit.tuning import BitFit

method = dict(
    label="BitFit",
    about="biases",
    settings=dict(prompt=None, tuning=L(BitFit)(placement="all")),
    statistics=None,
)
