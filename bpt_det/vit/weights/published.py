"""Files of the networks that timm has an architecture of, as their authors or timm publish them.

timm translates the names of each publisher (`checkpoint_filter_fn` of its modules); what is checked
afterwards is that every tensor of the network is there, and that nothing else changes it.
"""

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any

from timm.models import eva, vision_transformer
from torch import Tensor, nn

from bpt_det.utils.errors import InputError, one_line, shorten

from .files import check_weights, compare_states, read_weights
from .loading import find_network, source_of

# What is trained beside the network, or made anew: heads, pools, and tokens of masked patches.
_OTHERS = re.compile(
    r"(head|fc_norm|norm|attn_pool|lm_head|projectors|decoder\w*|ibot_head|dino_head)(\.|$)"
    r"|\w*mask_token$|local_cls_norm\.|visual_projection|logit_scale|text|rope\."
)
_PATCHES = ("patch_embed.proj.weight", "patch_embed.projection.weight", "conv1.weight")


def load_published(vit: Any, location: str, patch_size: int) -> None:
    """Load a weight file into a network of timm's that still has its head.

    Args:
        vit: a `VisionTransformer` or `Eva`; its patches may be of another size.
        location: path or http(s) address.
        patch_size: published side of a patch in pixels.

    Raises:
        InputError: the file cannot be read or is of another network; every difference is named.
    """
    content = read_weights(location, source=source_of(location), hint="weights")
    stored = find_network(content, location)
    _check_patches(stored, location, patch_size)
    module = eva if isinstance(vit, eva.Eva) else vision_transformer
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # timm prints what it skips
            state = module.checkpoint_filter_fn(dict(stored), vit)
    except Exception as error:  # it expects a file of its networks
        raise InputError(
            f"'{location}' is in no layout that timm reads as {type(vit).__name__} "
            f"({type(error).__name__}: {one_line(error)[:200]}); choose the architecture that the "
            "file was made with."
        ) from error
    expected = vit.state_dict()
    needed = {name for name in expected if not _is_beside(name, vit)}
    missing, resized, unknown = compare_states(state, expected)
    problems = [
        f"{len(names)} {what} ({shorten(sorted(names))})"
        for names, what in (
            (needed.intersection(missing), "missing"),
            (needed.intersection(resized), "of another size"),
            (_foreign(unknown), "for modules that this ViT does not have"),
        )
        if names
    ]
    if problems:
        raise InputError(
            f"'{location}' does not hold this ViT: {'; '.join(problems)}. Choose the architecture "
            "that the file was made with."
        )
    check_weights({name: state[name] for name in needed}, location)
    vit.load_state_dict({name: state[name] for name in needed}, strict=False)


def _is_beside(name: str, vit: Any) -> bool:
    """Return whether a tensor is of the head, the pool or the norm that is not the last."""
    unused = "norm" if isinstance(vit.norm, nn.Identity) else "fc_norm"
    return name.startswith(("head.", "head_dist.", "attn_pool.", f"{unused}."))


def _foreign(unknown: Sequence[str]) -> set[str]:
    return {name for name in unknown if not _OTHERS.match(name)}


def _check_patches(state: dict[str, Tensor], location: str, patch_size: int) -> None:
    """Check the size of the patches, which timm would resample without a word."""
    for name, value in state.items():
        if name.endswith(_PATCHES) and value.ndim == 4 and value.shape[3] != patch_size:
            raise InputError(
                f"'{location}' does not hold this ViT: its patches are of {value.shape[3]} pixels, "
                f"not {patch_size}. Choose the architecture that the file was made with."
            )
