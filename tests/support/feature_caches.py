"""Feature cache in tests: images, a tiny classifier, and mappers whose cache is filled."""

import numpy as np
import torch
from PIL import Image

from bpt_det.classification.classifier import PromptedClassifier
from bpt_det.classification.feature_cache import FeatureCache
from bpt_det.classification.mapper import ClassificationMapper
from bpt_det.engine import TestLoader
from bpt_det.prompts import BilinearPrompt
from bpt_det.vit import PromptedViT
from bpt_det.vit.tuning import LoRA
from tests.support.vits import TINY_SIZES, tiny_vit

NUM_IMAGES, NUM_VIEWS, NUM_TOKENS = 5, 3, 1 + 6 * 6
EMBED_DIM = TINY_SIZES["embed_dim"]


def write_records(folder, num_images=NUM_IMAGES):
    """Write images of noise, of 37 x 53 pixels (H, W), and return their records."""
    generator = np.random.default_rng(3)
    records = []
    for index in range(num_images):
        pixels = generator.integers(0, 256, (37, 53, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
        file_name = str(folder / f"{index}.png")
        records.append({"file_name": file_name, "label": index % 2, "image_id": f"{index}.png"})
    return records


def classifier(
    placement="last_2", *, prompted=True, frozen=True, pixel_mean=120.0, vit=None, tuned=None
):
    """A classifier of float32 weights with other prompts in each block; LoRA in those tuned."""
    vit = tiny_vit(torch.float32) if vit is None else vit
    prompt = BilinearPrompt(7, rank=4, embed_dim=EMBED_DIM) if prompted else None
    tuning = None if tuned is None else LoRA(3, placement=tuned)
    backbone = PromptedViT(vit, prompt, placement, frozen=frozen, tuning=tuning)
    if tuning is not None:
        for parameter in tuning.parameters():
            parameter.data += 0.1
    mean, std = [pixel_mean, 110.0, 100.0], [50.0, 60.0, 70.0]
    return PromptedClassifier(backbone, 2, pixel_mean=mean, pixel_std=std).eval()


def loader_of(records, *, num_views=NUM_VIEWS, num_workers=0, image_size=24, **settings):
    """A loader of records, whose mapper makes fixed views."""
    mapper = ClassificationMapper(image_size, 32, num_views=num_views, **settings)
    return TestLoader(records, mapper, 2, num_workers)


def filled_mapper(model, records, folder=None, **settings):
    loader = loader_of(records, **settings)
    FeatureCache(True, folder).fill(model, [loader])
    return loader.mapper


def all_samples(mapper, records, num_views=NUM_VIEWS):
    return [mapper.make_view(record, view) for record in records for view in range(num_views)]


def all_tokens(mapper, records, num_views=NUM_VIEWS):
    return torch.stack([sample["tokens"] for sample in all_samples(mapper, records, num_views)])


def rounded_tokens(model, samples):
    """What the cache should hold of samples with images, (B, T, D) bfloat16."""
    images = torch.stack([sample["image"] for sample in samples])
    with torch.no_grad():
        return model.backbone.prefix_tokens(model.normalize(images)).bfloat16()
