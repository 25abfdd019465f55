"""tWhiten-S: shallow prompts times a whitening matrix that is trained too."""

from ..common.prompts import whitened as _prompt

_prompt.train_basis = True

method = dict(
    label="tWhiten-S",
    about="whitened, W trained",
    settings=dict(prompt=_prompt, placement="shallow"),
    statistics="whiten_s",
)
