"""BPT-D: bilinear prompts in the last 4 blocks."""

from ..common.prompts import bilinear as _prompt

_prompt.update(prompt_length=50, rank=50)

method = dict(
    label="BPT-D",
    about="bilinear",
    settings=dict(prompt=_prompt, placement="last_4"),
    statistics=None,
)
