"""The method: what a prompt is and which blocks carry one. Needs torch only."""

from .insertion import insert_prompts
from .parametrization import BilinearPrompt, FreePrompt
from .placement import Placement, resolve_placement

__all__ = ["BilinearPrompt", "FreePrompt", "Placement", "insert_prompts", "resolve_placement"]
