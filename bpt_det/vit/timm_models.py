"""timm's pre-trained Vision Transformers by name, with the weights that timm downloads."""

import difflib
import logging
import pickle
from collections.abc import Iterable
from http.client import HTTPException
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from bpt_det.utils.errors import InputError, one_line

from .weights import LoadReport
from .weights.fitting import report_patches
from .weights.readers import describe_images

logger = logging.getLogger(__name__)

PREFIX = "timm:"
_MODULES = ("vision_transformer", "deit")  # where timm's entries are a VisionTransformer
# Exceptions of timm and the Hugging Face hub without a network, without access, on a damaged file.
_DOWNLOAD_ERRORS = (
    HTTPException,
    OSError,
    RuntimeError,
    ValueError,
    SafetensorError,
    pickle.UnpicklingError,
)


def build_timm_vit(
    location: str,
    *,
    embed_dim: int,
    num_blocks: int,
    num_heads: int,
    patch_size: int,
    pretrained_patch_size: int | None = None,
    drop_path_rate: float = 0.0,
) -> VisionTransformer:
    """Build a ViT of timm's, with its layer scale, register tokens, MLP and so on.

    It keeps the grid of positions that it was trained on. timm reads its local cache first.

    Args:
        location: ``timm:NAME``, for instance ``timm:vit_base_patch14_dinov2.lvd142m``.
        embed_dim: D; this and the next two are checked, as other parts of a model rely on them.
        num_blocks: number of transformer blocks.
        num_heads: attention heads of each block.
        patch_size: side of a patch in pixels; if it is not the published one, the patch embedding
            is resampled and ``pretrained_patch_size`` must be the published one.
        pretrained_patch_size: see ``patch_size``; None: the same.
        drop_path_rate: of stochastic depth, in [0, 1).

    Raises:
        InputError: timm has no such ViT, it has other sizes, or its weights are not available.
    """
    name = _known_name(location)
    with torch.device("meta"):
        published = _create_model(name, pretrained=False)
    sizes = {"embed_dim": embed_dim, "num_blocks": num_blocks, "num_heads": num_heads}
    _check_sizes(location, published, sizes, patch_size, pretrained_patch_size)
    options: dict[str, Any] = {"dynamic_img_size": True, "drop_path_rate": drop_path_rate}
    old_size = published.patch_embed.patch_size[0]
    if old_size != patch_size:
        options |= {
            "patch_size": patch_size,
            "img_size": tuple(patch_size * side for side in published.patch_embed.grid_size),
        }
    vit, ignored = _load(name, location, options)
    logger.debug("%s", _report(vit, location, ignored, report_patches(old_size, patch_size)))
    return vit


def _create_model(name: str, **options: Any) -> VisionTransformer:
    vit = timm.create_model(name, **options)
    assert isinstance(vit, VisionTransformer), name
    return vit


def _known_name(location: str) -> str:
    name = location.removeprefix(PREFIX)
    if timm.models.is_model_pretrained(name) and timm.models.is_model_in_modules(name, _MODULES):
        return name
    known = [known for m in _MODULES for known in timm.list_models(module=m, pretrained=True)]
    nearest = ", ".join(difflib.get_close_matches(name, known, cutoff=0.0))
    if timm.models.is_model_pretrained(name):
        raise InputError(
            f"'{location}' is not a plain Vision Transformer, as prompts need; the nearest names "
            f"of plain ones are: {nearest}."
        )
    raise InputError(
        f"timm {timm.__version__} has no pre-trained ViT '{name}'; the nearest names are: "
        f"{nearest}."
    )


def _check_sizes(
    location: str,
    published: VisionTransformer,
    sizes: dict[str, int],
    patch_size: int,
    pretrained_patch_size: int | None,
) -> None:
    modules: Iterable[Any] = published.blocks.modules()
    expected = {
        "embed_dim": published.embed_dim,
        "num_blocks": len(published.blocks),
        "num_heads": next(m.num_heads for m in modules if hasattr(m, "num_heads")),
    }
    differing = [name for name in expected if expected[name] != sizes[name]]
    problems = [f"{name}={expected[name]}, not {sizes[name]}" for name in differing]
    overrides = [f"{name}={expected[name]}" for name in differing]
    old_size, asked_size = published.patch_embed.patch_size[0], pretrained_patch_size or patch_size
    if old_size != asked_size:
        problems.append(f"patches of {old_size} pixels, not {asked_size}")
        overrides.append(f"patch_size={patch_size} pretrained_patch_size={old_size}")
    if problems:
        raise InputError(f"'{location}' has {', '.join(problems)}; set {' '.join(overrides)}.")


def _load(
    name: str, location: str, options: dict[str, Any]
) -> tuple[VisionTransformer, tuple[str, ...]]:
    """Return the pre-trained ViT without its head, and the names of the head's tensors."""
    try:
        # With its own head and pooling timm insists on every tensor; without, it would not.
        with torch.random.fork_rng(devices=[]):
            vit = _create_model(name, pretrained=True, **options)
    except _DOWNLOAD_ERRORS as error:
        reason = one_line(error)[:300]
        raise InputError(
            f"'{location}' could not be loaded by timm ({type(error).__name__}: {reason}); run "
            "this once where there is a network, or copy the Hugging Face cache from there."
        ) from error
    names = list(vit.state_dict())
    vit.reset_classifier(0, "")
    ignored = tuple(name for name in names if name not in vit.state_dict())
    if isinstance(vit.norm, nn.Identity):  # those trained with average pooling have it after that
        vit.norm, vit.fc_norm = vit.fc_norm, vit.norm
    return vit, ignored


def _report(
    vit: VisionTransformer, location: str, ignored: tuple[str, ...], resampled: str
) -> LoadReport:
    loaded = vit.state_dict()
    published: Any = vit.pretrained_cfg
    return LoadReport(
        pretraining="timm's",
        location=location,
        loaded=tuple(loaded),
        resampled=resampled,
        ignored=ignored,
        num_parameters=sum(value.numel() for value in loaded.values()),
        images=describe_images(published["mean"], published["std"]),
    )
