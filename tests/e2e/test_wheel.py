"""The wheel works without the checkout: commands, configs by their short names, and the API."""

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "bpt_det", "configs")
REQUIREMENTS = [path.name for path in ROOT.glob("requirements-*.txt")]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder that the wheel is installed into; built of a copy: no build folder stays."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in (*SOURCES, *REQUIREMENTS):
        source, target = ROOT / name, folder / "source" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copy(source, target)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", folder / "dist"]
    subprocess.run([*pip, *build, folder / "source"], check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("bpt_det-*.whl")
    target = ["install", "--no-deps", "--no-index", "--target", folder / "installed", wheel]
    subprocess.run([*pip, *target], check=True, capture_output=True)
    return folder / "installed"


def run(installed, tmp_path, *command):
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )


def test_the_console_script_lists_the_commands(installed, tmp_path):
    result = run(installed, tmp_path, installed / "bin/bpt-det", "--help")
    assert result.returncode == 0, result.stderr
    assert "train-cls" in result.stdout and "usage: bpt-det" in result.stdout


def test_every_command_has_its_help(installed, tmp_path):
    code = """
from bpt_det.cli.app import main
from bpt_det.cli.commands import COMMANDS
for name in COMMANDS:
    try:
        main([name, "--help"])
    except SystemExit as stop:
        assert stop.code == 0, name
"""
    result = run(installed, tmp_path, sys.executable, "-c", code)
    assert result.returncode == 0, result.stderr
    names = {line.split()[2] for line in result.stdout.splitlines() if line.startswith("usage: ")}
    expected = "train train-cls pretrain eval predict visualize check stats burstiness compare"
    expected += " benchmark memory demo demo-cls setup-detectron2 doctor"
    assert set(expected.split()) <= names


def test_the_doctor_reports(installed, tmp_path):
    result = run(installed, tmp_path, installed / "bin/bpt-det", "doctor", "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 0, report["problems"]
    assert "weights/mae_pretrain_vit_base.pth" in report["weights"]  # as its configs name them


def test_the_metadata_have_an_extra_for_each_file_of_requirements(installed):
    (found,) = importlib.metadata.distributions(name="bpt_det", path=[str(installed)])
    metadata = found.metadata
    extras = {name.removeprefix("requirements-").removesuffix(".txt") for name in REQUIREMENTS}
    assert "dev" in extras and extras <= set(metadata.get_all("Provides-Extra"))
    assert metadata["Author"] == "The bpt_det developers" and metadata["Summary"]
    required = [text for text in metadata.get_all("Requires-Dist") if text.startswith("opencv")]
    assert [text.split(">")[0] for text in required] == ["opencv-python-headless"]


def test_a_config_is_found_by_its_short_name_and_the_predictor_imports(installed, tmp_path):
    code = (
        "import bpt_det; from bpt_det import Predictor; "
        "print(bpt_det.__file__, bpt_det.get_config('coco/cascade_bpt_s').dataloader.image_size)"
    )
    result = run(installed, tmp_path, sys.executable, "-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(installed / "bpt_det/__init__.py"), "1024"]


def test_a_command_takes_a_short_name(installed, tmp_path):
    script = installed / "bin/bpt-det"
    result = run(installed, tmp_path, script, "memory", "--config-file", "coco/cascade_bpt_s")
    assert result.returncode == 0, result.stderr
    assert "largest batch" in result.stdout


def test_the_config_of_a_run_is_read(installed, tmp_path):
    code = """
import sys
from detectron2.config import LazyConfig
from bpt_det import get_config
LazyConfig.save(get_config("shapes/cascade_bpt_s"), "config.yaml")
assert get_config("config.yaml").dataloader.image_size == 128
"""
    result = run(installed, tmp_path, sys.executable, "-c", code)
    assert result.returncode == 0, result.stderr


def test_every_file_of_the_package_is_in_it(installed):
    def files(folder):
        paths = (path for path in folder.rglob("*") if path.is_file())
        return {str(p.relative_to(folder)) for p in paths if "__pycache__" not in p.parts}

    expected = files(ROOT / "bpt_det")
    assert {"py.typed", "pretrained/cascade_bpt_s_shapes.pth"} < expected
    assert expected | {f"configs/{name}" for name in files(ROOT / "configs")} == files(
        installed / "bpt_det"
    )
