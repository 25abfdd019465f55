"""BPT-D as in the authors' code: in every block, with a basis that is trained in the last 4 only.

The basis starts at columns of the whitening matrix as it is, not scaled to VPT's prompts;
`model.backbone.prompt.whitening.arithmetic=published` takes the authors' arithmetic as well.
docs/reproduction/deviations.md compares them.
"""

from ..common.prompts import bilinear as _prompt

_prompt.update(prompt_length=50, rank=50, basis_init="whitening")
_prompt.whitening.scale = "none"

method = dict(
    label="BPT-D, as released",
    about="bilinear, as in the authors' code",
    settings=dict(prompt=_prompt, placement="released"),
    statistics="whiten_all",
)
