"""Patches to Detectron2 0.6 that its installation applies, as one table.

Detectron2 0.6 is from 2021. Each patch below repairs one place that breaks with the versions in
requirements.txt, or that needs the compiled operators as soon as it is imported. Files are given
as a dictionary from path to bytes, so that no file on disk is ever partly patched.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class PatchError(ValueError):
    """A patch does not apply to the source."""


class Patch(NamedTuple):
    """Replace ``old`` by ``new`` in the file ``path``, where it must occur ``count`` times."""

    path: str
    old: str
    new: str
    count: int
    reason: str


INSTALLED_VERSION = "0.6+python"
NOTICE = "# Changed by `bpt-det setup-detectron2`: {}.\n"

NUMPY = "NumPy 1.24 removed the aliases np.int, np.float and np.str"
PILLOW = "Pillow 10 removed Image.LINEAR, the old name of Image.BILINEAR"
SETUPTOOLS = "setuptools 82 removed pkg_resources"
OPERATORS = "the compiled operators are absent, which is an error when used and not when imported"
EVALUATION = "the fast COCO evaluation is a compiled operator, so the official one is used"
CAFFE2 = "PyTorch no longer contains Caffe2, which only the Caffe2 export needs"
VERSION = "the version tells this build from an official one"

SEM_SEG = "detectron2/evaluation/sem_seg_evaluation.py"
MODEL_ZOO = "detectron2/model_zoo/model_zoo.py"
IMPORT_OPERATORS = "from detectron2 import _C\n"
IMPORT_ABSENT_OPERATORS = "from detectron2._absent_operators import absent_operators as _C\n"

PATCHES = (
    Patch(
        "detectron2/__init__.py",
        '__version__ = "0.6"\n',
        f'__version__ = "{INSTALLED_VERSION}"\n',
        1,
        VERSION,
    ),
    Patch(SEM_SEG, "dtype=np.int)", "dtype=int)", 2, NUMPY),
    Patch(SEM_SEG, "dtype=np.float)", "dtype=float)", 2, NUMPY),
    Patch(SEM_SEG, ".astype(np.float)", ".astype(float)", 3, NUMPY),
    Patch("detectron2/data/build.py", "dtype=np.int)", "dtype=int)", 1, NUMPY),
    Patch("detectron2/data/build.py", "dtype=np.int\n", "dtype=int\n", 1, NUMPY),
    Patch("detectron2/data/datasets/pascal_voc.py", "dtype=np.str)", "dtype=str)", 1, NUMPY),
    Patch(
        "detectron2/data/transforms/transform.py", "=Image.LINEAR,", "=Image.BILINEAR,", 1, PILLOW
    ),
    Patch(MODEL_ZOO, "import pkg_resources\n", "", 1, SETUPTOOLS),
    Patch(
        MODEL_ZOO,
        "    cfg_file = pkg_resources.resource_filename(\n"
        '        "detectron2.model_zoo", os.path.join("configs", config_path)\n'
        "    )\n",
        '    cfg_file = os.path.join(os.path.dirname(__file__), "configs", config_path)\n',
        1,
        SETUPTOOLS,
    ),
    *(
        Patch(path, IMPORT_OPERATORS, IMPORT_ABSENT_OPERATORS, 1, OPERATORS)
        for path in (
            "detectron2/layers/deform_conv.py",
            "detectron2/layers/rotated_boxes.py",
            "detectron2/layers/roi_align_rotated.py",
            "detectron2/evaluation/fast_eval_api.py",
        )
    ),
    Patch(
        "detectron2/export/__init__.py",
        "\nfrom .api import *\n",
        "\ntry:\n    from .api import *\nexcept ModuleNotFoundError as error:\n"
        '    if error.name.partition(".")[0] not in ("caffe2", "onnx"):\n'
        "        raise\n",
        1,
        CAFFE2,
    ),
    Patch(
        "detectron2/layers/nms.py",
        "    return torch.ops.detectron2.nms_rotated(boxes, scores, iou_threshold)\n",
        "    from detectron2._absent_operators import absent_operators\n\n"
        "    return absent_operators.nms_rotated(boxes, scores, iou_threshold)\n",
        1,
        OPERATORS,
    ),
    Patch(
        "detectron2/evaluation/coco_evaluation.py",
        "        self._use_fast_impl = use_fast_impl\n",
        "        if use_fast_impl:\n"
        '            self._logger.info("COCOeval_opt is not compiled; COCOeval is used instead.")\n'
        "        self._use_fast_impl = False\n",
        1,
        EVALUATION,
    ),
)

# The name `detectron2._C` stays free: code asks for it to learn whether there are operators.
ADDED_FILES = {
    "detectron2/_absent_operators.py": f'''"""Stands in for the compiled operators.

Written by `bpt-det setup-detectron2`; not part of Detectron2.
"""


class AbsentOperators:
    """Any operator of ``detectron2._C``: naming it is the error, importing this is not."""

    def __getattr__(self, name):
        if name.startswith("__"):  # copy, pickle and inspect ask for these
            raise AttributeError(name)
        raise RuntimeError(
            "detectron2 was installed without compiled operators ({INSTALLED_VERSION}), so "
            f"{{name}} is not available; build them with `bpt-det setup-detectron2 --source git "
            "--force` on a machine with a compiler."
        )


absent_operators = AbsentOperators()
'''.encode()
}


def apply_patches(
    files: Mapping[str, bytes], patches: Sequence[Patch] = PATCHES
) -> dict[str, bytes]:
    """Return the patched files; each changed file ends with a notice of what was changed.

    Args:
        files: path inside the source distribution to content.
        patches: applied in order; a later patch of a file sees the earlier ones.

    Raises:
        PatchError: a file is missing, or a pattern does not occur exactly as often as expected;
            all such places are named at once.
    """
    patched = dict(files)
    reasons: dict[str, list[str]] = {}
    problems = []
    for patch in patches:
        if patch.path not in patched:
            problems.append(f"{patch.path} is missing")
            continue
        old, new = patch.old.encode(), patch.new.encode()
        count = patched[patch.path].count(old)
        if count != patch.count:
            problems.append(
                f"{patch.path} has {patch.old!r} {count} times, expected {patch.count} times"
            )
        patched[patch.path] = patched[patch.path].replace(old, new)
        if patch.reason not in reasons.setdefault(patch.path, []):
            reasons[patch.path].append(patch.reason)
    if problems:
        raise PatchError(
            "these patches do not apply to the source, so nothing was installed: "
            + "; ".join(problems)
        )
    for path, of_file in reasons.items():
        patched[path] += NOTICE.format("; ".join(of_file)).encode()
    return patched
