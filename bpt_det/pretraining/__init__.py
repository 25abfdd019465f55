"""Pre-training of the ViT that prompts go into: masked autoencoders on any images."""

import bpt_det.utils.opencv  # noqa: F401  detectron2 imports cv2 too, without explaining a missing libGL

from .encoder_file import SaveEncoder, save_encoder
from .image_sets import load_images
from .masked_autoencoder import MaskedAutoencoder
from .pretraining_data import use_pretraining_data
from .reconstruction import ReconstructionEvaluator

__all__ = [
    "MaskedAutoencoder",
    "ReconstructionEvaluator",
    "SaveEncoder",
    "load_images",
    "save_encoder",
    "use_pretraining_data",
]
