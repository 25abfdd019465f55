"""Imports between rooms point one way (docs/explanation/architecture.md)."""

import ast
import os
import re
import runpy
import subprocess
import sys

import pytest

import bpt_det
from bpt_det.utils.package import USE_HEADLESS
from tests.support.paths import ROOT

pytestmark = pytest.mark.heavy


def run_python(code, repository_root, tmp_path):
    """Run code in a fresh interpreter, in a folder of its own."""
    environment = {**os.environ, "PYTHONPATH": str(repository_root)}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Blocker())
"""


@pytest.mark.parametrize(
    ("package", "blocked"),
    [
        ("bpt_det.prompts", ("detectron2", "timm", "omegaconf", "cv2")),
        ("bpt_det.vit", ("detectron2", "omegaconf", "cv2")),
        ("bpt_det.data.images", ("torch", "detectron2", "timm", "omegaconf", "cv2")),
        ("bpt_det.data.splits", ("torch", "detectron2", "timm", "omegaconf", "cv2")),
        ("bpt_det.data.validation", ("torch", "detectron2", "timm", "omegaconf", "cv2")),
        ("bpt_det.cli.setup_detectron2", ("torch", "detectron2", "numpy", "omegaconf", "cv2")),
        ("bpt_det.classification.layouts", ("torch", "detectron2", "timm", "omegaconf", "cv2")),
        ("bpt_det.engine.run", ("matplotlib",)),  # half a second of a start
        ("bpt_det.detection", ("matplotlib",)),
    ],
)
def test_the_core_imports_without(package, blocked, repository_root, tmp_path):
    code = BLOCK.format(blocked=blocked) + f"import {package}"
    result = run_python(code, repository_root, tmp_path)
    assert result.returncode == 0, result.stderr


def test_the_block_blocks(repository_root, tmp_path):
    code = BLOCK.format(blocked=("detectron2",)) + "import bpt_det.detection"
    result = run_python(code, repository_root, tmp_path)
    assert result.returncode != 0 and "blocked: detectron2" in result.stderr


def imported_modules(path, root):
    """Absolute names of what a file imports; relative imports are resolved."""
    package = path.relative_to(root).parent.parts
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def imports_of(folder, repository_root):
    files = sorted((repository_root / folder).rglob("*.py"))
    assert files
    return {path: imported_modules(path, repository_root) for path in files}


# Each room may import those it names, and what they may import.
ROOMS = {
    "utils": (),
    "installation": ("utils",),
    "prompts": ("utils",),
    "vit": ("prompts",),
    "data": ("utils",),
    "config": ("data", "vit"),
    "shapes": ("data",),
    "visualization": ("data",),
    "engine": ("visualization", "config"),
    "detection": ("visualization", "config"),
    "classification": ("engine",),
    "pretraining": ("classification",),
    "inference": ("detection", "classification"),
    "comparison": ("engine",),
    "benchmark": ("detection", "classification", "engine"),
    "cli": ("installation", "pretraining", "inference", "comparison", "benchmark", "shapes"),
}


def below(room):
    """Every room that a room may import."""
    return set(ROOMS[room]).union(*(below(other) for other in ROOMS[room]))


def above(room):
    """Every room that a room may not import."""
    return tuple(f"bpt_det.{other}" for other in set(ROOMS) - below(room) - {room})


def test_every_room_is_in_the_table(repository_root):
    folders = {path.parent.name for path in repository_root.glob("bpt_det/*/__init__.py")}
    assert folders - {"pretrained"} == set(ROOMS)


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("bpt_det/prompts", ("detectron2", "timm", "omegaconf", "pathlib")),
        ("bpt_det/vit", ("detectron2", "omegaconf")),
        *((f"bpt_det/{room}", above(room)) for room in ROOMS),
        ("bpt_det", ("tools", "configs", "tests")),
        ("configs", ("tools", "tests")),
    ],
)
def test_a_package_does_not_import_what_lies_above_it(folder, forbidden, repository_root):
    offenses = [
        f"{path.relative_to(repository_root)} imports {name}"
        for path, names in imports_of(folder, repository_root).items()
        for name in names
        if any(name == other or name.startswith(other + ".") for other in forbidden)
    ]
    assert offenses == []


# Files that speak of a command line: their own, that of runs they start, where data come from.
COMMAND_LINES = (
    "shapes/__main__.py",
    "comparison/runner.py",
    "comparison/results.py",
    "layouts/catalog.py",
)
A_FLAG_OR_COMMAND = re.compile(r"(?<![\w-])--[a-z]|\btools/\w|\bbpt-det \w|python -m bpt_det")


def strings_of(path):
    """String constants of a file, without docstrings: (line, text) pairs."""
    tree = ast.parse(path.read_text())
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and isinstance(node.body[0], ast.Expr)
    }
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if node not in docstrings
    ]


@pytest.mark.parametrize("room", sorted(set(ROOMS) - {"cli", "installation"}))
def test_what_lies_below_the_command_line_names_no_flag_and_no_command(room, repository_root):
    offenses = [
        f"{path.relative_to(repository_root)}:{line} says {text!r}"
        for path in sorted((repository_root / "bpt_det" / room).rglob("*.py"))
        if not path.as_posix().endswith(COMMAND_LINES)
        for line, text in strings_of(path)
        if A_FLAG_OR_COMMAND.search(text)
    ]
    assert offenses == []


@pytest.mark.parametrize("folder", ["bpt_det/prompts", "bpt_det/vit"])
def test_the_core_does_not_mention_detectron2(folder, repository_root):
    for path in imports_of(folder, repository_root):
        is_reader = path.parent.name == "weights"  # of Detectron2's files too
        assert is_reader or "detectron2" not in path.read_text().lower(), path


FAKE_OPENCV = 'raise ImportError("{reason}: cannot open shared object file")'


@pytest.fixture
def error_with_fake_opencv(tmp_path, monkeypatch):
    """Return what importing OpenCV raises where its own import fails for a reason."""

    def import_it(reason):
        (tmp_path / "cv2.py").write_text(FAKE_OPENCV.format(reason=reason))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "cv2", raising=False)
        with pytest.raises(ImportError) as caught:
            runpy.run_path(str(ROOT / "bpt_det/utils/opencv.py"))
        return str(caught.value)

    return import_it


@pytest.mark.parametrize("reason", ["libGL.so.1", "libgthread-2.0.so.0"])
def test_a_missing_system_library_of_opencv_says_what_to_install(reason, error_with_fake_opencv):
    assert error_with_fake_opencv(reason) == (
        "OpenCV needs a system library that is missing here "
        f"({reason}: cannot open shared object file); use the build that does not: {USE_HEADLESS}"
    )


def test_another_import_error_of_opencv_is_left_alone(error_with_fake_opencv):
    assert error_with_fake_opencv("numpy is too old") == (
        "numpy is too old: cannot open shared object file"
    )


def test_what_needs_detectron2_is_found_in_the_package_when_it_is_asked_for():
    assert bpt_det.load_config("shapes/cascade_bpt_s").train.max_iter > 0
    cfg = bpt_det.get_config("shapes/cascade", "method=bpt_d", "train.max_iter=7")
    assert cfg == bpt_det.load_config("shapes/cascade", ["method=bpt_d", "train.max_iter=7"])
    assert cfg.train.max_iter == 7
    with pytest.raises(AttributeError, match="module 'bpt_det' has no attribute 'load_configs'"):
        bpt_det.load_configs  # noqa: B018


def test_pytorch_does_not_warn_of_the_code_of_detectron2(tmp_path):
    code = (
        "import warnings, bpt_det; deprecated = '`torch.jit.script` is deprecated.'\n"
        "warnings.warn('torch.meshgrid: in an upcoming release, it will be', UserWarning)\n"
        "warnings.warn(deprecated, FutureWarning); warnings.warn('another', FutureWarning)"
    )
    lines = run_python(code, ROOT, tmp_path).stderr.splitlines()
    assert len(lines) == 1 and lines[0].endswith("FutureWarning: another")
