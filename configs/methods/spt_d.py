"""SPT-D: free prompts in every block that start from tokens of the frozen ViT."""

from ..common.prompts import free as _prompt

_prompt.update(prompt_length=20, init="kmeans")

method = dict(
    label="SPT-D",
    about="free, from tokens",
    settings=dict(prompt=_prompt, placement="all"),
    statistics="tokens_d",
)
