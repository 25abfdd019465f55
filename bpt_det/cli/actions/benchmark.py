"""Time and memory of a detector, measured: what `bpt-det benchmark` does."""

import argparse
import json
import shlex
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig

from bpt_det.benchmark.cost import FLOP_COUNTER
from bpt_det.benchmark.evaluation_workloads import (
    Comparison,
    SimulatedResults,
    build_evaluation,
    build_scoring,
)
from bpt_det.benchmark.machine import attention_kernels, describe_machine, matmul_peak
from bpt_det.benchmark.measure import Measurement, measure_all
from bpt_det.benchmark.tables import format_measurements, format_ratios, ratios
from bpt_det.benchmark.variant_table import (
    DATA,
    DETECTRON2_VITDET,
    EVALUATION,
    MEASURES,
    SCORING,
    VARIANTS,
)
from bpt_det.benchmark.variants import WHY_NO_DETECTRON2_VITDET, find_vit
from bpt_det.benchmark.workloads import Models, build_data_loading, build_workloads
from bpt_det.config import load_config
from bpt_det.engine.precision import Precision, resolve_precision
from bpt_det.utils.atomic import atomic_write
from bpt_det.utils.compat import has_detectron2_vitdet
from bpt_det.utils.errors import InputError

from ..commands import invocation
from ..launch import check_range, run_tool

PEAK_SIZES = {"cpu": 2048, "cuda": 8192}
_WARMUPS = {"cpu": 1, "cuda": 3}
_DEVICES = ("auto", "cpu", "cuda")
_PRECISIONS = ("auto", "float32", "bfloat16", "float16")
_OF_VIT = ("bare", "bpt_s", "bpt_s_checkpointed", "bpt_d", "full", "vitdet_b", DETECTRON2_VITDET)
_OF_DETECTOR = ("bpt_s", "bpt_d", "full", "vitdet_b", DETECTRON2_VITDET)
_NUM_EVALUATED = 40  # images
_MEMORY = {
    "cuda": "what torch allocated on the GPU",
    "cpu": "increase of the process's resident set, sampled",
}


def benchmark(args: argparse.Namespace, command: str) -> None:
    """Do what a parsed command line of `build_parser` asks for; the JSON file has the command."""
    _check_arguments(args)
    cfg = load_config(args.config_file, args.opts)
    vit = find_vit(cfg)
    if args.image_size is not None:
        cfg.dataloader.image_size = args.image_size
    _check_image_size(cfg.dataloader.image_size, vit.patch_size)
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = resolve_precision(args.precision, device)
    peak = matmul_peak(device, precision.dtype, size=PEAK_SIZES[device], repeats=20)
    report = {
        "machine": describe_machine(device),
        "command": command,
        "image_size": cfg.dataloader.image_size,
        "precision": precision.dtype_name,
        "flops_counted_with": FLOP_COUNTER,
        "memory": _MEMORY[device],
        "matmul_peak": peak,
        "attention": attention_kernels(precision, vit.num_heads, vit.embed_dim // vit.num_heads),
    }
    print(_describe(report), end="\n\n", flush=True)
    results: list[Measurement] = []
    for measured in _measure_each(cfg, args, precision):
        results += measured
        print(format_measurements(measured, peak, precision.dtype_name), end="\n\n", flush=True)
        if args.output:
            _write(args.output, report, results)
    print(format_ratios(results))


def _measure_each(
    cfg: DictConfig, args: argparse.Namespace, precision: Precision
) -> Iterator[list[Measurement]]:
    """Yield the measurements of each measure and batch size; print what is skipped."""
    device = precision.device
    models = Models(cfg, device, args.seed)
    missing = [] if has_detectron2_vitdet() else [DETECTRON2_VITDET]
    if missing and DETECTRON2_VITDET in (args.variants or _OF_VIT):
        print(f"skipped: {DETECTRON2_VITDET}: {WHY_NO_DETECTRON2_VITDET}\n", flush=True)
    for measure in args.measure:
        if measure == DATA:
            try:
                workloads = [build_data_loading(cfg, args.seed)]
            except InputError as error:
                print(f"skipped: data: {error}\n", flush=True)
                continue
            yield measure_all(workloads, "cpu", args.repeats)
            continue
        if measure in (EVALUATION, SCORING):
            try:
                comparison = _build_comparison(cfg, args, measure)
            except InputError as error:
                print(f"skipped: {measure}: {error}\n", flush=True)
                continue
            # Theirs is slow; the run whose memory is measured is warm-up enough.
            yield measure_all(comparison.workloads, "cpu", args.repeats, warmups=0)
            print(f"{measure}: {comparison.describe()}\n", flush=True)
            continue
        variants = [name for name in _variants_of(args, measure) if name not in missing]
        for batch_size in args.batch_sizes:
            workloads = build_workloads(models, measure, variants, batch_size, precision, args.seed)
            if not workloads:
                print(f"skipped: {measure}: not measured of {', '.join(variants) or 'these'}\n")
            else:
                yield measure_all(workloads, device, args.repeats, warmups=_WARMUPS[device])
            del workloads  # and with them images and optimizers


def _build_comparison(cfg: DictConfig, args: argparse.Namespace, measure: str) -> Comparison:
    simulated = SimulatedResults(cfg, _NUM_EVALUATED, args.seed)
    if measure == EVALUATION:
        return build_evaluation(simulated)
    return build_scoring(simulated, args.scored_images)


def _variants_of(args: argparse.Namespace, measure: str) -> list[str]:
    is_of_vit = measure in ("forward", "backbone_step")
    names = list(args.variants or (_OF_VIT if is_of_vit else _OF_DETECTOR))
    if measure == "forward" and not args.variants:
        names.remove("bpt_s_checkpointed")  # the same without gradients
    return names


def _check_arguments(args: argparse.Namespace) -> None:
    for option, given, known in (
        ("--measure", args.measure, MEASURES),
        ("--variants", args.variants or (), VARIANTS),
        ("--device", [args.device], _DEVICES),
        ("--precision", [args.precision], _PRECISIONS),
    ):
        for name in given:
            if name not in known:
                raise InputError(f"{option} {name} is unknown; choose from {', '.join(known)}.")
    for option in ("--repeats", "--batch-sizes", "--scored-images"):
        check_range(args, option)
    if args.seed < 0:
        raise InputError(f"--seed must be at least 0, got {args.seed}.")
    if args.device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: no GPU is visible; use --device cpu.")


def _check_image_size(size: int, patch_size: int) -> None:
    if size < 1 or size % patch_size:
        raise InputError(
            f"--image-size must be a multiple of the patch size {patch_size}, got {size}."
        )


def _describe(report: dict) -> str:
    machine, attention = report["machine"], report["attention"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("torch", "detectron2", "timm"))
    return (
        f"{report['command']}\n\n"
        f"{machine['device']}, {machine['cores']} cores, {machine['threads']} threads; {versions}\n"
        f"Peak of a matrix product in {report['precision']}: "
        f"{report['matmul_peak'] / 1e12:.2f} TFLOP/s; FLOPs counted with {FLOP_COUNTER}\n"
        f"Peak activations: {report['memory']}\n"
        f"Attention: {attention['chosen']} of {', '.join(attention['available'])}"
    )


def _write(path: Path, report: dict, results: Sequence[Measurement]) -> None:
    content = {
        **report,
        "measurements": [result.as_dict() for result in results],
        "ratios": ratios(results),
    }
    with atomic_write(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def run(args: argparse.Namespace, words: Sequence[str]) -> int:
    """Measure, and return the exit status."""
    command = f"{invocation('benchmark')} {shlex.join(words)}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of kernels that are tried, and of Detectron2
        return run_tool(lambda: benchmark(args, command), args)
