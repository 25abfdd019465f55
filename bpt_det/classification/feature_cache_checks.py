"""What a cache of tokens before the first prompted block is refused for."""

import shutil
from pathlib import Path

from detectron2.utils import comm

from bpt_det.utils.errors import InputError, shorten
from bpt_det.utils.memory import available_memory
from bpt_det.vit import PromptedViT

CACHE_OFF = "dataloader.cache_prefix=False"
_MEMORY_SHARE = 0.9  # of what is available; the rest is left to the training
_LESS = "fewer dataloader.train.mapper.num_views, a smaller dataloader.fraction"


def refuse_what_changes(backbone: PromptedViT, num_views: int | None) -> None:
    """Refuse tokens that a training changes, or that are of endlessly many views."""
    if not backbone.frozen:
        raise InputError(
            "dataloader.cache_prefix=True needs a frozen ViT, but model.backbone.frozen=False "
            f"trains it and with it what would be kept; set {CACHE_OFF}."
        )
    if backbone.first_prompted_block == 0:
        blocks = shorten(list(backbone.prompts), 4)
        raise InputError(
            "dataloader.cache_prefix=True keeps what enters the first prompted block, but "
            f"model.backbone.placement prompts block {blocks}, so that is the very first; use a "
            f"placement that begins later, as last_4 or [6,9], or set {CACHE_OFF}."
        )
    if num_views is None:
        raise InputError(
            "dataloader.cache_prefix=True needs views that do not change, but "
            "dataloader.train.mapper.num_views=null draws new ones endlessly; set it to a number, "
            f"for instance 4, or set dataloader.train.mapper.augment=False or {CACHE_OFF}."
        )


def refuse_full_memory(size: int) -> None:
    """Refuse a cache of so many bytes in memory, and one in the memory of several processes."""
    if comm.get_world_size() > 1:
        raise InputError(
            "dataloader.cache_prefix=True in memory would keep a copy in each of the "
            f"{comm.get_world_size()} processes; give dataloader.cache_dir=FOLDER, which they "
            f"share, or {CACHE_OFF}."
        )
    available = available_memory()
    if available is not None and size > _MEMORY_SHARE * available:
        raise InputError(
            f"the prefix cache needs {in_gb(size)} of memory, but {in_gb(available)} are "
            f"available, of which it may take {_MEMORY_SHARE:.0%}; give "
            f"dataloader.cache_dir=FOLDER to keep it in a file, {_LESS}, or {CACHE_OFF}."
        )


def refuse_full_disk(folder: Path, size: int) -> None:
    """Refuse a file of so many bytes in a folder."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise InputError(
            f"the prefix cache needs {in_gb(size)} of disk space, but {in_gb(free)} are free in "
            f"'{folder}'; give another folder with dataloader.cache_dir, {_LESS}, or {CACHE_OFF}."
        )


def in_gb(size: int) -> str:
    """Return bytes as a text in GB, 10^9 bytes."""
    return f"{size / 1e9:.3g} GB"
