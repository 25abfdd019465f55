"""VPT-S: shallow free prompts."""

from ..common.prompts import free as _prompt

method = dict(
    label="VPT-S", about="free", settings=dict(prompt=_prompt, placement="shallow"), statistics=None
)
