"""BPT-S: shallow bilinear prompts."""

from ..common.prompts import bilinear as _prompt

method = dict(
    label="BPT-S",
    about="bilinear",
    settings=dict(prompt=_prompt, placement="shallow"),
    statistics=None,
)
