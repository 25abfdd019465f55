"""fWhiten-D: prompts times a fixed whitening matrix, in the last 4 blocks."""

from ..common.prompts import whitened as _prompt

_prompt.prompt_length = 50

method = dict(
    label="fWhiten-D",
    about="whitened, W fixed",
    settings=dict(prompt=_prompt, placement="last_4"),
    statistics="whiten_d",
)
