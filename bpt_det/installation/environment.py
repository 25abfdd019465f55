"""Environment of this installation: packages, machine and GPUs, importable or not."""

import importlib
import importlib.util
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from bpt_det.utils.available_memory import available_memory
from bpt_det.utils.errors import one_line
from bpt_det.utils.package import OPENCV_BUILDS

# By distribution: the module that is imported of it.
PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "detectron2": "detectron2.layers",
    "timm": "timm",
    "numpy": "numpy",
    "pycocotools": "pycocotools.mask",
    "faster-coco-eval": "faster_coco_eval",
    "opencv": "cv2",
}
# Variables that change what a run does; no other one is read, for a report is shown to others.
VARIABLES = ("DETECTRON2_DATASETS", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")


def describe_packages() -> dict[str, dict[str, Any]]:
    """Return ``version`` (None: not installed) and ``error`` (None: it imports) by package.

    Detectron2 has its ``line`` too, ``0.6`` or ``main``, and whether its ``operators`` are
    compiled; OpenCV the ``builds`` that are installed, of which one should be.
    """
    packages: dict[str, dict[str, Any]] = {}
    for name, module in PACKAGES.items():
        builds = [build for build in OPENCV_BUILDS if _version(build)] if name == "opencv" else []
        version = _version(builds[0] if builds else name)
        packages[name] = {"version": version, "error": _import_error(module)}
        if name == "opencv":
            packages[name]["builds"] = builds
    detectron2 = packages["detectron2"]
    is_usable = detectron2["error"] is None
    detectron2["line"] = _detectron2_line() if is_usable else None
    detectron2["operators"] = _has_operators() if is_usable else None
    return packages


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _import_error(module: str) -> str | None:
    try:
        importlib.import_module(module)
    except Exception as error:  # a binary that does not fit raises anything
        return f"{type(error).__name__}: {one_line(error)}"
    return None


def _detectron2_line() -> str:
    from bpt_det.utils.compat import has_detectron2_vitdet

    return "main" if has_detectron2_vitdet() else "0.6"


def _has_operators() -> bool:
    return importlib.util.find_spec("detectron2._C") is not None


def describe_system(folder: Path) -> dict[str, Any]:
    """Return the operating system, Python, CPU cores, and free bytes of memory and of a disk.

    Args:
        folder: on the disk.
    """
    has_affinity = hasattr(os, "sched_getaffinity")  # not on macOS
    return {
        "os": platform.platform(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count(),
        "memory_available": available_memory(),
        "disk_free": shutil.disk_usage(folder).free,
    }


def describe_gpus() -> list[dict[str, Any]]:
    """Return ``name`` and ``memory`` (bytes) of the GPUs that torch sees; none without torch."""
    try:
        import torch
    except Exception:  # named by `describe_packages`
        return []
    properties = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return [{"name": gpu.name, "memory": gpu.total_memory} for gpu in properties]


def describe_variables() -> dict[str, str]:
    """Return the environment variables of `VARIABLES` that are set."""
    return {name: os.environ[name] for name in VARIABLES if name in os.environ}
