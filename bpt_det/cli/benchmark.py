"""Measure time and memory of a detection config, compared with other ways to train its ViT.

All variants have random weights and are measured with interleaved repeats in one process: a bare
ViT with as many tokens, BPT-S, BPT-D, full fine-tuning, and ViTDet (windows, relative positions).
They have prompts of their own; the variant `config` is the detector with those of the config.
Measures are

    forward        the ViT alone, without gradients
    backbone_step  the ViT alone, forward and backward of its mean squared output
    train_step     an iteration of the trainer with the whole detector, on images of noise
    inference      the whole detector, in float32 as evaluation runs; images/s by batch size
    data           reading and cropping of training images, if they are there
    evaluation     pasting and encoding of masks and COCO's metrics, of simulated predictions in up
                   to 40 test images, if they are there; beside Detectron2's with pycocotools
    scoring        COCO's metrics alone, with these images repeated (--scored-images)

Prints tables; --output keeps all numbers as JSON:

    bpt-det benchmark --config-file coco/cascade_bpt_s --image-size 512 \\
        --measure forward backbone_step --output benchmark.json
    bpt-det benchmark --config-file coco/cascade method=bpt_d vit=vit_h \\
        --image-size 1024 --measure train_step --variants bpt_d
    bpt-det benchmark --config-file coco/cascade method=vpt_s --measure train_step \\
        --variants config model.backbone.net.prompt.prompt_length=200
    bpt-det benchmark --config-file coco/cascade_bpt_s \\
        --measure evaluation scoring --repeats 3
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bpt_det.benchmark.variant_table import MEASURES, VARIANTS

from .arguments import build_tool_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("benchmark", __doc__)
    parser.add_argument("--config-file", required=True, help="LazyConfig of a detector")
    parser.add_argument("--output", type=Path, help="JSON file for all numbers")
    add = parser.add_argument_group("workload").add_argument
    known = ", ".join(MEASURES)
    add("--measure", nargs="+", default=list(MEASURES), help=f"what to measure, of {known}")
    known = ", ".join(VARIANTS)
    text = f"what to compare, of {known} (default: as the measure needs)"
    add("--variants", nargs="+", help=text)
    add("--image-size", type=int, help="side in pixels (dataloader.image_size)")
    text = "images at once (default: 1)"
    add("--batch-sizes", type=int, nargs="+", default=[1], help=text)
    text = "images that the measure scoring evaluates (default: 500)"
    add("--scored-images", type=int, default=500, help=text)
    add = parser.add_argument_group("measurement").add_argument
    add("--device", default="auto", help="auto (default), cuda or cpu")
    text = "auto (default), float32, bfloat16 or float16"
    add("--precision", default="auto", help=text)
    add("--repeats", type=int, default=5, help="timed calls of each (default: 5)")
    add("--seed", type=int, default=0, help="seed of weights and images (default: 0)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, and return the exit status."""
    args = build_parser().parse_intermixed_args(argv)
    from .actions.benchmark import run

    return run(args, sys.argv[1:] if argv is None else argv)
