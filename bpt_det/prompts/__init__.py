"""The method: parametrizations of prompts, and which blocks carry them. Needs torch only."""

from .conditioned import ConditionedPrompt
from .initialization import BlockStatistics
from .parametrization import BilinearPrompt, FactoredPrompt, FreePrompt, Prompt, WhitenedPrompt
from .placement import Placement, resolve_placement
from .whitening import SecondMoment, Whitening, query_key_product

__all__ = [
    "BilinearPrompt",
    "BlockStatistics",
    "ConditionedPrompt",
    "FactoredPrompt",
    "FreePrompt",
    "Placement",
    "Prompt",
    "SecondMoment",
    "WhitenedPrompt",
    "Whitening",
    "query_key_product",
    "resolve_placement",
]
