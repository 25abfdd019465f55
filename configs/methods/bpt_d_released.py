"""BPT-D as in the authors' code: in every block, with a basis that is trained in the last 4 only.

The basis starts from the whitening matrix; docs/fidelity.md compares the two.
"""

from ..common.prompts import bilinear as _prompt

_prompt.update(prompt_length=50, rank=50, basis_init="whitening")

method = dict(
    label="BPT-D, as released",
    about="bilinear, as in the authors' code",
    settings=dict(prompt=_prompt, placement="released"),
    statistics="whiten_all",
)
