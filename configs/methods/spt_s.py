"""SPT-S: shallow free prompts that start from tokens of the frozen ViT."""

from ..common.prompts import free as _prompt

_prompt.init = "kmeans"

method = dict(
    label="SPT-S",
    about="free, from tokens",
    settings=dict(prompt=_prompt, placement="shallow"),
    statistics="tokens_s",
)
