"""tWhiten-D: prompts times a whitening matrix that is trained too, in the last 4 blocks."""

from ..common.prompts import whitened as _prompt

_prompt.update(prompt_length=50, train_basis=True)

method = dict(
    label="tWhiten-D",
    about="whitened, W trained",
    settings=dict(prompt=_prompt, placement="last_4"),
    statistics="whiten_d",
)
