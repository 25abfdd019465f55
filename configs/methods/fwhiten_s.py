"""fWhiten-S: shallow prompts times a fixed whitening matrix."""

from ..common.prompts import whitened as _prompt

method = dict(
    label="fWhiten-S",
    about="whitened, W fixed",
    settings=dict(prompt=_prompt, placement="shallow"),
    statistics="whiten_s",
)
