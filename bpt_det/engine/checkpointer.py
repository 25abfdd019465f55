"""Checkpoints of what was trained, tied to the frozen network it was trained on."""

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm
from fvcore.common.checkpoint import Checkpointer
from torch import Tensor, nn

from bpt_det.errors import InputError, shorten
from bpt_det.vit import PromptedViT, fingerprint
from bpt_det.weights import compare_states, read_weights


class FrozenAwareCheckpointer(Checkpointer):
    """Saves the trained part of a model and a fingerprint of each frozen ViT inside it.

    Files are written beside their place and moved there, so an interruption leaves the earlier
    file. They are read with ``weights_only=True`` and fit the model exactly or are refused.

    Args:
        model: holds any number of `PromptedViT`, whose ``vit`` is left out of the file.
        save_dir: folder of the files.
        checkpointables: further objects with ``state_dict``, such as the trainer.
    """

    def __init__(self, model: nn.Module, save_dir: str = "", **checkpointables: Any) -> None:
        super().__init__(model, save_dir, save_to_disk=comm.is_main_process(), **checkpointables)

    def save(self, name: str, *, is_last: bool = True, **extra: Any) -> None:
        """Write ``<save_dir>/<name>.pth``.

        Args:
            name: file name without its suffix.
            is_last: whether `--resume` continues from this file.
            extra: further plain data to store.

        Raises:
            InputError: a weight is NaN or infinite; the earlier file is kept.
        """
        if not self.save_dir or not self.save_to_disk:
            return
        trained = trained_state(self.model)
        broken = [key for key, value in trained.items() if not torch.isfinite(value).all()]
        if broken:
            raise InputError(
                f"{shorten(broken)} became NaN or infinite; checkpoint '{name}' was not written "
                "and the last good one was kept: go on from it with --resume and a lower "
                "optimizer.lr."
            )
        data = {"model": trained, "frozen": self._fingerprints, **extra}
        data.update({key: value.state_dict() for key, value in self.checkpointables.items()})
        path = Path(self.save_dir) / f"{name}.pth"
        self.logger.info("Saving checkpoint to %s", path)
        _write_atomically(path, data)
        if is_last:
            _write_atomically(Path(self.save_dir) / "last_checkpoint", path.name)

    def load(self, path: str, checkpointables: list[str] | None = None) -> dict[str, Any]:
        """Load a file into the model and the named checkpointables (None: all).

        Raises:
            InputError: the file is missing or damaged, or is of another model or frozen ViT.
        """
        if not path:
            return {}
        self.logger.info("Loading %s", path)
        hint = "Give the path of a model_*.pth that tools/train_net.py has written."
        checkpoint = read_weights(path, hint=hint)
        if not isinstance(checkpoint, dict) or not {"model", "frozen"} <= checkpoint.keys():
            raise InputError(f"'{path}' is not a checkpoint of this project. {hint}")
        _refuse_other_frozen_networks(checkpoint.pop("frozen"), self._fingerprints, path)
        _refuse_other_model(checkpoint["model"], self.model, path)
        self.model.load_state_dict(checkpoint.pop("model"), strict=False)
        for key in self.checkpointables if checkpointables is None else checkpointables:
            if key in checkpoint:
                self.checkpointables[key].load_state_dict(checkpoint.pop(key))
        return checkpoint

    @cached_property
    def _fingerprints(self) -> dict[str, str]:
        """Computed once: it reads every frozen weight, and these never change."""
        return frozen_fingerprints(self.model)


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state_dict of a model without the frozen ViTs inside it."""
    frozen = tuple(f"{name}." for name in _frozen_networks(model))
    return {k: v for k, v in model.state_dict().items() if not k.startswith(frozen)}


def frozen_fingerprints(model: nn.Module) -> dict[str, str]:
    """Return the fingerprint of each frozen ViT by its name in the model."""
    return {name: fingerprint(vit) for name, vit in _frozen_networks(model).items()}


def _frozen_networks(model: nn.Module) -> dict[str, nn.Module]:
    return {
        f"{name}.vit" if name else "vit": module.vit
        for name, module in model.named_modules()
        if isinstance(module, PromptedViT)
    }


def _refuse_other_frozen_networks(
    stored: dict[str, str], expected: dict[str, str], path: str
) -> None:
    for name, here in expected.items():
        if stored.get(name) != here:
            raise InputError(
                f"'{path}' was trained on another frozen ViT ({name} has fingerprint "
                f"{str(stored.get(name))[:12]} there, {here[:12]} here); give the ViT's "
                "checkpoint= and sizes the values of that run's config.yaml."
            )


def _refuse_other_model(state: dict[str, Tensor], model: nn.Module, path: str) -> None:
    expected = trained_state(model)
    missing, resized, unknown = compare_states(state, expected)
    sizes = [
        f"{key} is {tuple(state[key].shape)} there, {tuple(expected[key].shape)} here"
        for key in resized
    ]
    groups = {"of another size": sizes, "missing there": missing, "unknown here": unknown}
    problems = [f"{len(keys)} {what} ({shorten(keys)})" for what, keys in groups.items() if keys]
    if problems:
        raise InputError(
            f"'{path}' does not fit this model: {'; '.join(problems)}. Set prompt_length, rank, "
            "placement, num_classes and sizes as in that run's config.yaml."
        )


def _write_atomically(path: Path, content: dict | str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            if isinstance(content, str):
                file.write(content.encode())
            else:
                torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch.save turns a full disk into the latter
        raise InputError(f"cannot write '{path}' ({error}); is the disk full?") from error
    finally:
        partial.unlink(missing_ok=True)
