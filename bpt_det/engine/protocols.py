"""Protocols: optional interfaces of models, loaders and evaluators that the engine uses.

The engine takes any model and any loader. What it does beyond calling them it does for those that
satisfy one of these protocols; no class needs to inherit from one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeGuard, runtime_checkable

from torch import nn

from bpt_det.vit.statistics import TokenStatistics
from bpt_det.vit.tuning import TuningMethod


@runtime_checkable
class NamesClasses(Protocol):
    """A loader or dataset that knows the names of its classes, which checkpoints then hold."""

    class_names: Sequence[str] | None


@runtime_checkable
class UsesLoader(Protocol):
    """An evaluator that takes class names and number of images from the loader it evaluates."""

    def use_loader(self, loader: Any) -> None:
        """Take what is needed of the loader; called before each evaluation."""


@runtime_checkable
class WrapsModel(Protocol):
    """An evaluator that takes the predictions in another form than the model's own."""

    def wrap_model(self, model: nn.Module) -> nn.Module:
        """Return a model that gives the predictions in that form."""


class FeatureCache(Protocol):
    """Features of a frozen network that are computed before the first iteration."""

    def fill(self, model: nn.Module, loaders: Sequence[Any]) -> None:
        """Compute the features of the records of all loaders and hand them to their mappers.

        Called in every process, before a loader is iterated. What cannot be cached is refused
        before anything is computed.
        """


@runtime_checkable
class HasCheckpointSettings(Protocol):
    """A model, or a part of one, with settings that change its results and not its weights."""

    @property
    def checkpoint_settings(self) -> Mapping[str, Any]:
        """Values by name; checkpoints hold them and are refused where they differ."""


@runtime_checkable
class HasParameterDepths(Protocol):
    """A module that is or holds a Vision Transformer and says how deep each parameter lies."""

    def parameter_depths(self) -> dict[nn.Parameter, int]:
        """Return 0 for the embedding, i + 1 for block i, the number of blocks + 1 after them."""


@runtime_checkable
class HasClassLayers(Protocol):
    """A model with layers that have one row for each class."""

    @property
    def class_layers(self) -> Sequence[str]:
        """Names of these layers in the model."""


class PromptedNetwork(HasParameterDepths, Protocol):
    """A module with prompts in a network that is frozen, unless ``frozen`` is False."""

    vit: nn.Module
    prompts: nn.Module
    tuning: TuningMethod | None
    frozen: bool

    @property
    def needed_statistics(self) -> Mapping[int, str]:
        """Kind of token statistics that the initial prompts of each block are made of."""

    def initialize_prompts(self, seed: int, statistics: TokenStatistics | None = None) -> None:
        """Set the initial prompts that are made of token statistics."""

    def merge_tuning(self) -> None:
        """Put what was tuned into a network of its own, for inference."""


def prompted_networks(model: nn.Module) -> Iterator[tuple[str, PromptedNetwork]]:
    """Yield each prompted network in a model, with its name there."""
    for name, module in model.named_modules():
        if _is_prompted(module):
            yield name, module


def _is_prompted(module: Any) -> TypeGuard[PromptedNetwork]:
    # By a method: from Python 3.12 on, isinstance does not see the submodules of a module.
    return hasattr(module, "initialize_prompts")
