"""Tuning methods beside prompts: what is trained in the blocks of a frozen ViT."""

from .adaptformer import AdaptFormer
from .copies import BitFit, TrainedBlocks
from .gate import PromptGate
from .lora import LoRA
from .method import TuningMethod
from .ssf import SSF

__all__ = [
    "SSF",
    "AdaptFormer",
    "BitFit",
    "LoRA",
    "PromptGate",
    "TrainedBlocks",
    "TuningMethod",
]
