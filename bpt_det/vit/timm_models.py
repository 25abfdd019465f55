"""timm's Vision Transformers by name: which can be prompted, their sizes, and building them."""

import contextlib
import difflib
import logging
import pickle
import threading
from collections.abc import Iterable, Iterator
from functools import cache
from http.client import HTTPException
from typing import Any

import timm
import torch
from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.utils import get_session
from safetensors import SafetensorError
from torch import nn

from bpt_det.utils.errors import InputError, one_line

from .backbones import to_pixels
from .network import adapt
from .weights import LoadReport
from .weights.fitting import report_patches
from .weights.published import load_published
from .weights.readers import describe_images

logger = logging.getLogger(__name__)

PREFIX = "timm:"
MODULES = ("vision_transformer", "deit", "eva")  # where timm's entries can be prompted
_SECONDS = 4.0  # that a hub may take to answer at all
_FILES = ("model.safetensors", "open_clip_model.safetensors", "pytorch_model.bin")
# Exceptions of timm and the Hugging Face hub without a network, without access, on a damaged file.
_DOWNLOAD_ERRORS = (
    HTTPException,
    OSError,
    RuntimeError,
    ValueError,
    SafetensorError,
    pickle.UnpicklingError,
)
_RELATIVE = "its blocks add positions of patches relative to each other, which prompts have none of"
_STAGES = "its stages merge or pool patches, and prompts would be merged with them"
_SHIFTED = "it attends within windows of a grid that shrinks by stages; prompts are on no grid"
# Why networks of other modules of timm's cannot be prompted.
REASONS = {
    "vision_transformer_sam": "it attends within windows of a grid, with positions relative to it; "
    "prompts are on no grid",
    "vision_transformer_hybrid": "its patches come from a convolutional network",
    "vision_transformer_relpos": _RELATIVE,
    "beit": _RELATIVE,
    "naflexvit": "it takes patches with coordinates and masks in place of images",
    "hiera": _STAGES,
    "mvitv2": _STAGES,
    "pvt_v2": _STAGES,
    "swin_transformer": _SHIFTED,
    "swin_transformer_v2": _SHIFTED,
    "swin_transformer_v2_cr": _SHIFTED,
    "cait": "its class token meets the patches in blocks of its own, after all others",
    "xcit": "it attends over channels, not over tokens",
}


def build_timm_vit(
    location: str | None,
    architecture: str | None = None,
    *,
    embed_dim: int,
    num_blocks: int,
    num_heads: int,
    patch_size: int,
    pretrained_patch_size: int | None = None,
    drop_path_rate: float = 0.0,
    init_seed: int = 0,
) -> Any:
    """Build a network of timm's, with its layer scale, register tokens, rotary positions and so on.

    It keeps the grid of positions that it was trained on. timm reads its local cache first.

    Args:
        location: ``timm:NAME``, for instance ``timm:vit_base_patch14_dinov2.lvd142m``; a weight
            file as its authors or timm publish it; None: random weights.
        architecture: timm's name, without a tag, of what a file or random weights are of.
        embed_dim: D; this and the next two are checked, as other parts of a model rely on them.
        num_blocks: number of transformer blocks.
        num_heads: attention heads of each block.
        patch_size: side of a patch in pixels; if it is not the published one, the patch embedding
            is resampled and ``pretrained_patch_size`` must be the published one.
        pretrained_patch_size: see ``patch_size``; None: the same.
        drop_path_rate: of stochastic depth, in [0, 1).
        init_seed: of random weights.

    Raises:
        InputError: timm has no such ViT, it has other sizes, or its weights are not available.
    """
    is_named = location is not None and location.startswith(PREFIX)
    name = _known_name(str(location)) if is_named else _known_architecture(str(architecture))
    published = published_sizes(name)
    sizes = {"embed_dim": embed_dim, "num_blocks": num_blocks, "num_heads": num_heads}
    label = str(location) if is_named else f"{PREFIX}{name}"
    _check_sizes(label, published, sizes, patch_size, pretrained_patch_size)
    options: dict[str, Any] = {"dynamic_img_size": True, "drop_path_rate": drop_path_rate}
    old_size = published["patch_size"]
    if old_size != patch_size:
        options |= {
            "patch_size": patch_size,
            "img_size": tuple(patch_size * side for side in published["grid"]),
        }
    if is_named:
        vit, ignored = _load(name, label, options)
        logger.debug("%s", _report(vit, label, ignored, report_patches(old_size, patch_size)))
        return vit
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(init_seed)
        vit = timm.create_model(name, **options)
    if location is not None:
        load_published(vit, location, old_size)
    _without_head(vit)
    return vit


@cache
def published_sizes(name: str) -> dict[str, Any]:
    """Return the sizes of a name of timm's, and the ``grid`` of its positions; nothing is fetched.

    Raises:
        InputError: timm has no such network, or it cannot be prompted.
    """
    with torch.device("meta"):
        vit: Any = timm.create_model(name, pretrained=False, dynamic_img_size=True)
    network = adapt(vit)
    modules: Iterable[Any] = (m for block in network.blocks for m in block.modules())
    return {
        "embed_dim": network.embed_dim,
        "num_blocks": len(network.blocks),
        "num_heads": next(m.num_heads for m in modules if hasattr(m, "num_heads")),
        "patch_size": network.patch_size,
        "grid": vit.patch_embed.grid_size,
    }


def sizes_of(location: str) -> dict[str, Any]:
    """Return `published_sizes` of ``timm:NAME``.

    Raises:
        InputError: timm has no such network, or it cannot be prompted.
    """
    return published_sizes(_known_name(location))


def pixels_of(location: str) -> tuple[list[float], list[float]]:
    """Return mean and deviation of the images of ``timm:NAME``, RGB in [0, 255].

    Raises:
        InputError: timm has no such network, or it cannot be prompted.
    """
    published: Any = timm.get_pretrained_cfg(_known_name(location))
    return to_pixels(published.mean), to_pixels(published.std)


def _known_name(location: str) -> str:
    name = location.removeprefix(PREFIX)
    if not timm.models.is_model_pretrained(name):
        raise InputError(
            f"timm {timm.__version__} has no pre-trained ViT '{name}'; the nearest names are: "
            f"{_nearest(name)}."
        )
    _check_module(name)
    return name


def _known_architecture(name: str) -> str:
    if not timm.is_model(name) or "." in name:
        known = [known for m in MODULES for known in timm.list_models(module=m)]
        nearest = ", ".join(difflib.get_close_matches(name, known, cutoff=0.0))
        raise InputError(
            f"timm {timm.__version__} has no architecture '{name}'; the nearest are: {nearest}.",
            parameter="architecture",
        )
    _check_module(name)
    return name


def _check_module(name: str) -> None:
    """Check that a network is of a module whose networks can be prompted.

    Raises:
        InputError: it is not; the reason is named.
    """
    module = timm.model_entrypoint(name.partition(".")[0]).__module__.rpartition(".")[2]
    if module not in MODULES:
        reason = REASONS.get(module, "it is no column of equal blocks over class token and patches")
        raise InputError(
            f"'{PREFIX}{name}' ({module}) cannot be prompted: {reason}; the nearest names that can "
            f"are: {_nearest(name)}."
        )


def _nearest(name: str) -> str:
    known = [known for m in MODULES for known in timm.list_models(module=m, pretrained=True)]
    return ", ".join(difflib.get_close_matches(name, known, cutoff=0.0))


def _check_sizes(
    location: str,
    published: dict[str, Any],
    sizes: dict[str, int],
    patch_size: int,
    pretrained_patch_size: int | None,
) -> None:
    differing = [name for name in sizes if published[name] != sizes[name]]
    problems = [f"{name}={published[name]}, not {sizes[name]}" for name in differing]
    overrides = [f"{name}={published[name]}" for name in differing]
    old_size, asked_size = published["patch_size"], pretrained_patch_size or patch_size
    if old_size != asked_size:
        problems.append(f"patches of {old_size} pixels, not {asked_size}")
        overrides.append(f"patch_size={patch_size} pretrained_patch_size={old_size}")
    if problems:
        raise InputError(f"'{location}' has {', '.join(problems)}; set {' '.join(overrides)}.")


def _load(name: str, location: str, options: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
    """Return the pre-trained ViT without its head, and the names of the head's tensors."""
    try:
        # With its own head and pooling timm insists on every tensor; without, it would not.
        with _fetching(name, location), torch.random.fork_rng(devices=[]):
            vit = timm.create_model(name, pretrained=True, **options)
    except _DOWNLOAD_ERRORS as error:
        reason = one_line(error)[:300]
        raise InputError(
            f"'{location}' could not be loaded by timm ({type(error).__name__}: {reason}); run "
            "this once where there is a network, or copy the Hugging Face cache from there."
        ) from error
    return vit, _without_head(vit)


@contextlib.contextmanager
def _fetching(name: str, location: str) -> Iterator[None]:
    """Say what is about to be fetched, from where; read only the cache where it holds the file.

    Raises:
        ConnectionError: the file is not in the cache and the hub does not answer.
    """
    published: Any = timm.get_pretrained_cfg(name)
    repository, _, revision = (published.hf_hub_id or "").partition("@")
    if not repository or published.hf_hub_filename:
        yield
        return
    # Read now: a cache may be moved between two calls.
    folder, was_offline = constants.HF_HUB_CACHE, constants.HF_HUB_OFFLINE
    if any(
        isinstance(try_to_load_from_cache(repository, file, folder, revision or None), str)
        for file in _FILES
    ):
        constants.HF_HUB_OFFLINE = True
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = was_offline
        return
    logger.info(
        "'%s' is fetched from %s/%s (license: %s) into '%s'",
        location,
        constants.ENDPOINT,
        repository,
        published.license or "not stated",
        folder,
    )
    if not was_offline and not _answers(constants.ENDPOINT):
        raise ConnectionError(f"{constants.ENDPOINT} did not answer within {_SECONDS:g} s")
    yield


def _answers(address: str) -> bool:
    """Return whether a server answers at all within `_SECONDS`, looking up its name included."""
    answers: list[object] = []

    def ask() -> None:
        with contextlib.suppress(Exception):  # each HTTP library has its own
            answers.append(get_session().head(address, timeout=_SECONDS))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    return bool(answers)


def _without_head(vit: Any) -> tuple[str, ...]:
    """Take head and pooling off a ViT, in place; return the names of their tensors."""
    names = list(vit.state_dict())
    vit.reset_classifier(0, "")
    if getattr(vit, "attn_pool", None) is not None:
        vit.attn_pool = None
    ignored = tuple(name for name in names if name not in vit.state_dict())
    if isinstance(vit.norm, nn.Identity):  # those trained with average pooling have it after that
        vit.norm, vit.fc_norm = vit.fc_norm, vit.norm
    return ignored


def _report(vit: Any, location: str, ignored: tuple[str, ...], resampled: str) -> LoadReport:
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
