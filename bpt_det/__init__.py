"""Prompt-tuned detection: BPT prompts on a frozen MAE ViT, for Detectron2."""

__version__ = "0.1.0"
