"""Wheel of the patched Detectron2, built reproducibly: the same sources give the same bytes."""

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping

from .detectron2_patches import ADDED_FILES, INSTALLED_VERSION, PATCHES

SDIST_NAME = "pb1-detectron2"
SDIST_VERSION = "0.6"
SDIST_SHA256 = "5d2e9e51e523ec72f6a31cca04b0a515492e9514b773a3d134cedc0677170b29"
HOME_PAGE = "https://github.com/facebookresearch/detectron2"
WHEEL_NAME = f"detectron2-{INSTALLED_VERSION}-py3-none-any.whl"
# setup.py of 0.6 without its upper bounds, and without black, future and pydot, which only
# LazyConfig.to_py and the Caffe2 export use.
REQUIREMENTS = (
    "Pillow>=7.1",
    "cloudpickle",
    "fvcore>=0.1.5",
    "hydra-core>=1.1",
    "iopath>=0.1.7",
    "matplotlib",
    "numpy",
    "omegaconf>=2.1",
    "pycocotools>=2.0.2",
    "tabulate",
    "tensorboard",
    "termcolor>=1.1",
    "torch>=1.8",
    "torchvision",
    "tqdm>4.29.0",
    "yacs>=0.1.8",
)


def read_source(archive: bytes, sha256: str = SDIST_SHA256) -> dict[str, bytes]:
    """Return the files of ``detectron2/`` and LICENSE, by path inside the distribution.

    Raises:
        ValueError: the archive is not the one with this hash.
    """
    actual = hashlib.sha256(archive).hexdigest()
    if actual != sha256:
        raise ValueError(
            f"the source distribution has sha256 {actual}, expected {sha256}; nothing is installed."
        )
    files = {}
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            path = member.name.partition("/")[2]
            if member.isfile() and (path == "LICENSE" or path.startswith("detectron2/")):
                files[path] = tar.extractfile(member).read()
    return files


def changes_sha256() -> str:
    """Return one hash of all patches and added files; an installed wheel is compared by it."""
    return hashlib.sha256(repr((PATCHES, sorted(ADDED_FILES.items()))).encode()).hexdigest()


def describe_wheel() -> str:
    """Return METADATA: the license, where the files are from and what was changed."""
    changes = sorted({f"- {patch.path}: {patch.reason}." for patch in PATCHES})
    added = [f"- {path}: added; says that an operator is absent." for path in ADDED_FILES]
    header = [
        "Metadata-Version: 2.4",
        "Name: detectron2",
        f"Version: {INSTALLED_VERSION}",
        "Summary: Detectron2 0.6 without compiled operators, patched for current PyTorch and NumPy",
        f"Home-page: {HOME_PAGE}",
        "Author: FAIR",
        "License-Expression: Apache-2.0",
        "License-File: LICENSE",
        "Requires-Python: >=3.10",
        *(f"Requires-Dist: {requirement}" for requirement in REQUIREMENTS),
    ]
    body = [
        "Built on this machine by `bpt-det setup-detectron2` of bpt_det; not an official build.",
        f"Source: the folder detectron2/ of {SDIST_NAME} {SDIST_VERSION}, a source distribution of",
        f"Detectron2 0.6, sha256 {SDIST_SHA256}.",
        "The projects (PointRend, DeepLab) and the C++ and CUDA operators are not included.",
        "Changes:",
        *added,
        *changes,
        f"Changes in full: sha256 {changes_sha256()}.",
    ]
    return "\n".join([*header, "", *body, ""])


def build_wheel(files: Mapping[str, bytes]) -> bytes:
    """Return the wheel; the same files give the same bytes."""
    info = f"detectron2-{INSTALLED_VERSION}.dist-info"
    package = {path: data for path, data in sorted(files.items()) if path != "LICENSE"}
    # pip copies in this order: without its __init__.py a package is visibly not complete.
    package["detectron2/__init__.py"] = package.pop("detectron2/__init__.py")
    contents = {
        f"{info}/licenses/LICENSE": files["LICENSE"],
        f"{info}/METADATA": describe_wheel().encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: bpt_det\n"
        b"Root-Is-Purelib: true\nTag: py3-none-any\n",
        **package,
    }
    record = []
    for path, data in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record.append(f"{path},sha256={digest},{len(data)}\n")
    record_text = "".join([*record, f"{info}/RECORD,,\n"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, data in {f"{info}/RECORD": record_text.encode(), **contents}.items():
            entry = zipfile.ZipInfo(path, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            wheel.writestr(entry, data)
    return buffer.getvalue()
