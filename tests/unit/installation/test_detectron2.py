"""Tests of the installer of Detectron2; nothing is downloaded or installed."""

import base64
import csv
import hashlib
import importlib
import importlib.metadata
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.utils import parse_wheel_filename

from bpt_det.cli.setup_detectron2 import main
from bpt_det.installation import detectron2, detectron2_patches, detectron2_wheel
from tests.support.paths import TOOLS


@pytest.fixture
def source():
    """A miniature of the source distribution: every pattern as often as it is expected."""
    files = {"LICENSE": b"the license\n", "detectron2/data/untouched.py": b"np.int64\n"}
    for patch in detectron2_patches.PATCHES:
        files[patch.path] = files.get(patch.path, b"\n") + f"{patch.old}\n".encode() * patch.count
    return files


def make_archive(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(f"pb1-detectron2-0.6/{path}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def test_every_patch_replaces_its_pattern_and_leaves_a_notice(source):
    patched = detectron2_patches.apply_patches(source)
    for patch in detectron2_patches.PATCHES:
        text = patched[patch.path].decode()
        assert patch.old not in text
        assert text.count(patch.new) >= patch.count
        assert patch.reason in text.splitlines()[-1]


def test_a_file_without_patches_keeps_its_bytes(source):
    patched = detectron2_patches.apply_patches(source)
    assert patched["detectron2/data/untouched.py"] == source["detectron2/data/untouched.py"]
    assert patched["LICENSE"] == source["LICENSE"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_pattern_found_another_number_of_times_is_refused_with_both_numbers(count):
    patch = detectron2_patches.Patch("detectron2/a.py", "np.int)", "int)", 2, "a reason")
    with pytest.raises(
        detectron2_patches.PatchError,
        match=rf"detectron2/a\.py has 'np\.int\)' {count} times, expected 2 times",
    ):
        detectron2_patches.apply_patches({"detectron2/a.py": b"np.int) " * count}, [patch])


def test_all_patches_that_do_not_fit_are_named_at_once():
    table = [
        detectron2_patches.Patch("detectron2/a.py", "old", "new", 1, "a reason"),
        detectron2_patches.Patch("detectron2/b.py", "old", "new", 1, "a reason"),
    ]
    with pytest.raises(
        detectron2_patches.PatchError,
        match=r"a\.py has 'old' 0 times.*; detectron2/b\.py is missing",
    ):
        detectron2_patches.apply_patches({"detectron2/a.py": b""}, table)


def test_the_added_module_raises_when_an_operator_is_named_not_before():
    namespace = {}
    exec(detectron2_patches.ADDED_FILES["detectron2/_absent_operators.py"], namespace)
    operators = namespace["absent_operators"]
    assert not hasattr(operators, "__wrapped__")
    with pytest.raises(
        RuntimeError,
        match=r"without compiled operators \(0\.6\+python\), so nms_rotated is not available; "
        r"build them with `bpt-det setup-detectron2 --source git --force`",
    ):
        _ = operators.nms_rotated


def test_only_the_package_and_the_license_are_taken_from_the_archive():
    expected = {"LICENSE": b"a", "detectron2/__init__.py": b"b", "detectron2/x/y.yaml": b"c"}
    archive = make_archive({**expected, "setup.py": b"d", "projects/detectron2/z.py": b"e"})
    assert detectron2_wheel.read_source(archive, hashlib.sha256(archive).hexdigest()) == expected


def test_an_archive_with_another_hash_is_refused_with_both_hashes():
    archive = make_archive({"LICENSE": b"a"})
    digest = hashlib.sha256(archive).hexdigest()
    with pytest.raises(
        ValueError, match=f"has sha256 {digest}, expected {detectron2_wheel.SDIST_SHA256}"
    ):
        detectron2_wheel.read_source(archive)


def test_the_record_lists_every_file_of_the_wheel_with_its_hash_and_size(source):
    with zipfile.ZipFile(io.BytesIO(detectron2_wheel.build_wheel(source))) as wheel:
        contents = {path: wheel.read(path) for path in wheel.namelist()}
    record_path = "detectron2-0.6+python.dist-info/RECORD"
    rows = {row[0]: row[1:] for row in csv.reader(contents[record_path].decode().splitlines())}
    assert rows.keys() == contents.keys()
    assert rows.pop(record_path) == ["", ""]
    for path, (digest, size) in rows.items():
        sha256 = hashlib.sha256(contents[path]).digest()
        assert digest == "sha256=" + base64.urlsafe_b64encode(sha256).decode().rstrip("=")
        assert int(size) == len(contents[path])


def test_the_wheel_holds_the_package_its_license_and_honest_metadata(source):
    info = "detectron2-0.6+python.dist-info"
    with zipfile.ZipFile(io.BytesIO(detectron2_wheel.build_wheel(source))) as wheel:
        assert wheel.read(f"{info}/licenses/LICENSE") == source["LICENSE"]
        for path in source.keys() - {"LICENSE"}:
            assert wheel.read(path) == source[path]
        text = wheel.read(f"{info}/METADATA").decode()
    metadata = Metadata.from_email(text, validate=True)
    assert (metadata.name, str(metadata.version)) == ("detectron2", "0.6+python")
    assert metadata.license_expression == "Apache-2.0"
    assert detectron2_wheel.SDIST_SHA256 in metadata.description
    for patch in detectron2_patches.PATCHES:
        assert f"- {patch.path}: {patch.reason}." in metadata.description
    name, version, _, tags = parse_wheel_filename(detectron2_wheel.WHEEL_NAME)
    assert (name, str(version)) == ("detectron2", "0.6+python")
    assert {str(tag) for tag in tags} == {"py3-none-any"}


def test_the_same_files_in_another_order_give_the_same_wheel(source):
    assert detectron2_wheel.build_wheel(source) == detectron2_wheel.build_wheel(
        dict(reversed(source.items()))
    )


def test_the_package_is_importable_only_when_its_last_file_is_copied(source):
    with zipfile.ZipFile(io.BytesIO(detectron2_wheel.build_wheel(source))) as wheel:
        assert wheel.namelist()[-1] == "detectron2/__init__.py"


def test_a_package_without_init_which_an_interruption_leaves_counts_as_absent(tmp_path):
    (tmp_path / "detectron2" / "layers").mkdir(parents=True)
    done = subprocess.run(
        # -S: without the detectron2 that is installed
        [sys.executable, "-S", "-c", detectron2.PROBE],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
    )
    assert done.returncode == detectron2.PROBE_ABSENT


def test_a_package_that_fails_to_import_is_an_error_that_names_why(tmp_path, monkeypatch):
    (tmp_path / "detectron2").mkdir()
    (tmp_path / "detectron2" / "__init__.py").write_text("raise ImportError('libGL.so.1')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        detectron2.InstallError, match=r"cannot be imported: ImportError: libGL\.so\.1\. .*--force"
    ):
        detectron2.importable_detectron2()


def fake_install(monkeypatch, installed):
    """Replace what touches the machine; return the list of wheels that would be installed."""
    done = []
    monkeypatch.setattr(detectron2, "importable_detectron2", lambda: installed)
    monkeypatch.setattr(detectron2, "wheel_from_registry", lambda folder: "from the registry")
    monkeypatch.setattr(detectron2, "wheel_from_git", lambda folder: "from git")
    monkeypatch.setattr(detectron2, "install_wheel", done.append)
    return done


@pytest.mark.parametrize("source", ["registry", "git"])
def test_an_importable_detectron2_is_left_alone_and_its_version_named(monkeypatch, caplog, source):
    installed = {"version": "0.6+cu999", "description": "an official build"}
    done = fake_install(monkeypatch, installed)
    with caplog.at_level("INFO"):
        assert main(["--source", source]) == 0
    assert done == []
    assert "detectron2 0.6+cu999 is installed and left alone" in caplog.text


@pytest.mark.parametrize("source", ["registry", "git"])
def test_force_replaces_an_importable_detectron2(monkeypatch, source):
    installed = {"version": "0.6+cu999", "description": "an official build"}
    done = fake_install(monkeypatch, installed)
    assert main(["--source", source, "--force"]) == 0
    assert done == [{"registry": "from the registry", "git": "from git"}[source]]


def test_our_own_build_is_renewed_when_the_patches_have_changed(monkeypatch):
    old = {"version": "0.6+python", "description": detectron2.describe_wheel() + "older"}
    done = fake_install(monkeypatch, old)
    assert main([]) == 0
    assert done == ["from the registry"]


def test_our_own_build_is_left_alone_when_the_patches_are_the_same(monkeypatch):
    same = {"version": "0.6+python", "description": detectron2.describe_wheel()}
    done = fake_install(monkeypatch, same)
    assert main([]) == 0
    assert done == []


def test_a_failing_pip_is_one_line_with_its_reason(monkeypatch, capsys):
    code = "print('noise'); print('ERROR: No matching distribution'); raise SystemExit(1)"
    monkeypatch.setattr(detectron2, "importable_detectron2", lambda: None)
    monkeypatch.setattr(detectron2, "pip_command", lambda *_: [sys.executable, "-c", code])
    assert main([]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: installing pip==")
    assert error.endswith("failed: ERROR: No matching distribution\n")
    assert error.count("\n") == 1


def test_a_missing_git_is_named():
    with pytest.raises(
        detectron2.InstallError, match=r"reaching it failed: no-such-git is not installed"
    ):
        detectron2.run(["no-such-git", "ls-remote"], "reaching it")


def test_the_tool_runs_before_anything_is_installed(tmp_path):
    """Without site-packages, and so without bpt_det, NumPy and torch."""
    command = [sys.executable, "-S", str(TOOLS / "install_detectron2.py"), "--help"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage: python " in done.stdout and "--source {registry,git}" in done.stdout


def installed_version():
    try:
        return importlib.metadata.version("detectron2")
    except importlib.metadata.PackageNotFoundError:
        return None


needs_our_build = pytest.mark.skipif(
    installed_version() != "0.6+python", reason="detectron2 is not the build of this tool"
)


@needs_our_build
def test_no_patched_pattern_is_left_in_the_installed_package():
    root = Path(importlib.import_module("detectron2").__file__).parents[1]
    for patch in detectron2_patches.PATCHES:
        assert patch.old not in (root / patch.path).read_text(), patch.path


@needs_our_build
def test_rotated_and_deformable_operators_are_importable_and_raise_when_used():
    torch = importlib.import_module("torch")
    layers = importlib.import_module("detectron2.layers")
    deform_conv = importlib.import_module("detectron2.layers.deform_conv")
    rotated_boxes = importlib.import_module("detectron2.layers.rotated_boxes")
    fast_eval_api = importlib.import_module("detectron2.evaluation.fast_eval_api")
    boxes = torch.tensor([[5.0, 6.0, 4.0, 3.0, 30.0]])
    rois = torch.tensor([[0.0, 5.0, 6.0, 4.0, 3.0, 30.0]])
    pool = layers.ROIAlignRotated((2, 3), spatial_scale=1.0, sampling_ratio=1)
    uses = {
        "nms_rotated": lambda: layers.nms_rotated(boxes, torch.ones(1), 0.5),
        "box_iou_rotated": lambda: rotated_boxes.pairwise_iou_rotated(boxes, boxes),
        "roi_align_rotated_forward": lambda: pool(torch.zeros(1, 1, 8, 9), rois),
        # Their own code for the CPU comes first, so on a CPU only the operator can be asked for.
        "deform_conv_forward": lambda: deform_conv._C.deform_conv_forward,
        "COCOevalEvaluateImages": lambda: fast_eval_api._C.COCOevalEvaluateImages,
    }
    for name, use in uses.items():
        with pytest.raises(RuntimeError, match=f"so {name} is not available"):
            use()


@needs_our_build
def test_the_coco_evaluator_uses_the_official_evaluation_by_default(tmp_path):
    evaluation = importlib.import_module("detectron2.evaluation")
    data = importlib.import_module("detectron2.data")
    annotations = tmp_path / "instances.json"
    annotations.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    name = str(tmp_path)  # unlike any other dataset of this process
    data.MetadataCatalog.get(name).set(json_file=str(annotations))
    assert evaluation.COCOEvaluator(name, tasks=("bbox",))._use_fast_impl is False
