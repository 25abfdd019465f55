"""What a checkpoint holds of a model, and whether what a file holds fits a model."""

import logging
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from bpt_det.utils.errors import InputError, shorten
from bpt_det.vit import fingerprint
from bpt_det.vit.weights.files import check_weights, compare_states

from .protocols import HasCheckpointSettings, PromptedNetwork, prompted_networks
from .task_file import BACKBONE_ADVICE

_RUN_ADVICE = "give the ViT's checkpoint= and sizes the values of that run's config.yaml."

logger = logging.getLogger(__name__)


def trained_state(model: nn.Module) -> dict[str, Tensor]:
    """Return the state_dict of a model without the frozen ViTs inside it."""
    frozen = tuple(f"{name}." for name in _frozen_networks(model))
    return {k: v for k, v in model.state_dict().items() if not k.startswith(frozen)}


def frozen_fingerprints(model: nn.Module) -> dict[str, str]:
    """Return the fingerprint of each frozen ViT by its name in the model."""
    return {name: _cached_fingerprint(vit) for name, vit in _frozen_networks(model).items()}


# By ViT, with the versions of its tensors: each weight is read once, however many models share it.
_FINGERPRINTS: WeakKeyDictionary[nn.Module, tuple[list, str]] = WeakKeyDictionary()


def _cached_fingerprint(vit: nn.Module) -> str:
    versions = [(t.data_ptr(), t._version) for t in vit.state_dict(keep_vars=True).values()]
    if vit not in _FINGERPRINTS or _FINGERPRINTS[vit][0] != versions:
        _FINGERPRINTS[vit] = (versions, fingerprint(vit))
    return _FINGERPRINTS[vit][1]


def _frozen_networks(model: nn.Module) -> dict[str, nn.Module]:
    return {name: network.vit for name, network in prompted_vits(model) if network.frozen}


def prompted_vits(model: nn.Module) -> Iterator[tuple[str, PromptedNetwork]]:
    """Yield each prompted network in a model, with the name of its ``vit``."""
    for name, network in prompted_networks(model):
        yield f"{name}.vit" if name else "vit", network


def check_frozen_networks(checkpoint: dict[str, Any], model: nn.Module, path: str) -> None:
    """Check that a file is of the same frozen ViTs as the model's.

    Raises:
        InputError: it is not; says what to set.
    """
    stored, expected = checkpoint["frozen"], frozen_fingerprints(model)
    for name, module in prompted_vits(model):
        was_trained = any(key.startswith(f"{name}.") for key in checkpoint["model"])
        if module.frozen and was_trained:
            raise InputError(
                f"'{path}' is of a full fine-tuning: it holds the weights of its ViT "
                f"({name}), which is frozen here; set the frozen= beside the ViT to False, as in "
                "that run's config.yaml."
            )
        if not module.frozen and name in stored:
            raise InputError(
                f"'{path}' was trained on a frozen ViT ({name}) and does not hold its weights, but "
                "the ViT is trained here; set the frozen= beside the ViT to True, as in that run's "
                "config.yaml."
            )
        if module.frozen and stored.get(name) != expected[name]:
            raise InputError(
                f"'{path}' was trained on another frozen ViT ({name} has fingerprint "
                f"{str(stored.get(name))[:12]} there, {expected[name][:12]} here); "
                f"{checkpoint.get(BACKBONE_ADVICE, _RUN_ADVICE)}"
            )


def settings_of(model: nn.Module, *, is_tuned_anew: bool = False) -> dict[str, Any]:
    """Return the settings of a model and its parts that show in none of their weights.

    Args:
        model: whose settings.
        is_tuned_anew: leave out those of tuning, as its weights begin anew.
    """
    tuning = {network.tuning for _, network in prompted_networks(model)} if is_tuned_anew else set()
    parts = (module for module in model.modules() if module not in tuning)
    kept = (part for part in parts if isinstance(part, HasCheckpointSettings))
    return {key: value for part in kept for key, value in part.checkpoint_settings.items()}


def check_settings(stored: dict | None, expected: dict[str, Any], path: str) -> None:
    """Check settings that a file holds, if it does, against those of `settings_of`.

    Raises:
        InputError: one differs.
    """
    for key, value in expected.items():
        if stored and key in stored and stored[key] != value:
            raise InputError(
                f"'{path}' was trained with {key}={stored[key]}, which is {value} here; set "
                f"{key}={stored[key]}.",
                parameter=key,
            )


def check_class_names(
    stored: list[str] | None,
    expected: list[str] | None,
    path: str,
    is_resumed: bool,
) -> None:
    """Compare the class names of a file with those of the data, as far as there are both.

    Raises:
        InputError: they differ where a run is resumed, or are in another order. Other differences
            are warned of.
    """
    pairs = list(zip(stored or [], expected or [], strict=False))
    differences = [(old, new) for old, new in pairs if old != new]
    if not differences:
        return
    old, new = differences[0]
    count = f"{len(differences)} of {len(expected or [])} differ"
    text = f"other class names: '{old}' there is '{new}' here ({count})"
    if is_resumed:
        raise InputError(
            f"'{path}' was trained with {text}; resume with the data of that run's config.yaml, or "
            "give a new train.output_dir, and train.init_checkpoint to start from its weights."
        )
    if sorted(stored or []) == sorted(expected or []):
        raise InputError(
            f"'{path}' was trained with the same classes in another order: {shorten(stored or [])} "
            f"there, {shorten(expected or [])} here; evaluate with the config.yaml of its run."
        )
    logger.warning("'%s' was trained with %s", path, text)


def check_fit(state: dict[str, Tensor], model: nn.Module, path: str) -> None:
    """Check that a file has each trained weight of a model, in its size and kind, and no other.

    Raises:
        InputError: it has not, or a weight is NaN or infinite; says how many, and names some.
    """
    expected = trained_state(model)
    missing, resized, unknown = compare_states(state, expected)
    sizes = [
        f"{key} is {tuple(state[key].shape)} there, {tuple(expected[key].shape)} here"
        for key in resized
    ]
    types = [
        f"{key} is {state[key].dtype} there, {value.dtype} here"
        for key, value in expected.items()
        if key in state and state[key].is_floating_point() != value.is_floating_point()
    ]
    groups = {
        "of another size": sizes,
        "of another type": types,
        "missing there": missing,
        "unknown here": unknown,
    }
    problems = [f"{len(keys)} {what} ({shorten(keys)})" for what, keys in groups.items() if keys]
    if problems:
        raise InputError(
            f"'{path}' does not fit this model: {'; '.join(problems)}. Set prompt_length, rank, "
            "placement, tuning, layers, num_classes, head_batch_norm and sizes as in that run's "
            "config.yaml."
        )
    check_weights(state, path)


def as_in(model: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights in the types of a model, as not every device converts from 8 bits."""
    expected = model.state_dict()
    return {name: value.to(expected[name].dtype) for name, value in state.items()}
