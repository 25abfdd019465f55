"""GateVPT: shallow free prompts with a gate behind each block."""

from detectron2.config import LazyCall as L

from bpt_det.vit.tuning import PromptGate

from ..common.prompts import free as _prompt

method = dict(
    label="GateVPT",
    about="free, gated",
    settings=dict(
        prompt=_prompt,
        placement="shallow",
        tuning=L(PromptGate)(initial_logit=-5.0, placement="all"),
    ),
    statistics=None,
)
