"""VPT-D: free prompts in every block."""

from ..common.prompts import free as _prompt

_prompt.prompt_length = 20

method = dict(
    label="VPT-D", about="free", settings=dict(prompt=_prompt, placement="all"), statistics=None
)
