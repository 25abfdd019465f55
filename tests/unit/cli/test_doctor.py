"""Report of the environment: with everything, without packages, with data and weights."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from detectron2.data import MetadataCatalog

import bpt_det.detection.datasets  # noqa: F401  registers the datasets
from bpt_det.cli import doctor
from bpt_det.cli.doctor import COCO_LAYOUTS, examine, format_report, main
from bpt_det.installation import environment
from bpt_det.utils.package import OPENCV_BUILDS, USE_HEADLESS


@pytest.fixture
def datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    monkeypatch.setenv("A_TOKEN", "not-to-be-shown")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_report_is_strict_json_and_holds_versions_and_no_other_variable(datasets, capsys):
    assert main(["--json"]) == 0
    text = capsys.readouterr().out
    report = json.loads(text, parse_constant=pytest.fail)
    assert report["bpt_det"] == bpt_det.__version__
    assert {row["error"] for row in report["packages"].values()} == {None}
    assert report["packages"]["detectron2"]["line"] in ("0.6", "main")
    assert set(report["packages"]["opencv"]["builds"]) <= set(OPENCV_BUILDS)
    assert report["precision"].split(" on ")[1] in ("cpu", "cuda")
    assert report["cores"] >= 1 and report["disk_free"] > 0
    assert "not-to-be-shown" not in text + format_report(report)


def test_datasets_are_found_in_their_layouts(datasets):
    coco = datasets / "coco"
    (coco / "val2017").mkdir(parents=True)
    (coco / "train2017").mkdir()
    (coco / "annotations").mkdir()
    (coco / "annotations/instances_val2017.json").touch()
    (datasets / "CUB_200_2011").mkdir()
    (datasets / "CUB_200_2011/images.txt").touch()
    report = examine()
    found = {name: row["found"] for name, row in report["datasets"].items() if row["found"]}
    assert found == {"coco": ["val2017"], "cub": [str(datasets / "CUB_200_2011")]}
    assert "missing; render it with python -m bpt_det.shapes" in format_report(report)


def test_the_layouts_are_those_of_the_registered_datasets():
    for name, splits in COCO_LAYOUTS.items():
        for split in splits:
            registered = f"{name}_2017_{split[:-4]}" if name == "coco" else f"{name}_{split}"
            metadata = MetadataCatalog.get(registered)
            assert metadata.json_file.endswith(f"{name}/annotations/instances_{split}.json")
            assert metadata.image_root.endswith(f"{name}/{split}")


def test_weights_that_configs_name_are_listed_with_their_source(datasets):
    file = Path("weights/mae_pretrain_vit_base.pth")
    missing = examine()["weights"]
    assert missing[str(file)]["bytes"] is None and "https://" in missing[str(file)]["source"]
    file.parent.mkdir()
    file.write_bytes(bytes(7))
    found = examine()["weights"]
    assert found[str(file)]["bytes"] == 7 and found.keys() == missing.keys()


def test_two_builds_of_opencv_are_a_problem_with_its_command(datasets, monkeypatch, capsys):
    monkeypatch.setattr(environment, "OPENCV_BUILDS", ("numpy", "torch"))  # two that are installed
    assert main([]) == 0
    assert (
        f"numpy and torch overwrite each other's files\n    {USE_HEADLESS}"
        in capsys.readouterr().out
    )


def test_the_home_folder_is_not_spelled_out(datasets, monkeypatch):
    monkeypatch.setattr(doctor.Path, "home", lambda: datasets)
    assert "Datasets in ~:" in format_report(examine())


def test_packages_that_cannot_be_imported_are_problems_with_their_commands():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'detectron2', 'cv2'])); "
        "sys.argv = ['bpt-det']; from bpt_det.cli.app import main; main(['doctor']); "
        "sys.exit(main(['doctor', '--json']))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    text, report = result.stdout[: (start := result.stdout.index("{\n"))], result.stdout[start:]
    commands = [row["command"].removesuffix(" --force") for row in json.loads(report)["problems"]]
    assert {"bpt-det setup-detectron2", USE_HEADLESS} < set(commands)
    assert "pip install --force-reinstall torch" in commands
    assert "CANNOT BE IMPORTED" in text and "not known, see below" in text
