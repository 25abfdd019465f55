"""ONNX files: what ONNX Runtime makes of them equals what the model does."""

import contextlib
import copy
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from detectron2.config import instantiate
from PIL import Image
from timm.layers import resample_abs_pos_embed

from bpt_det import Predictor, load_config
from bpt_det.cli.actions import export as export_command
from bpt_det.cli.export import main
from bpt_det.engine import FrozenAwareCheckpointer
from bpt_det.inference import OnnxDetector, export_detector, export_program
from bpt_det.inference.batching import predict_batch
from bpt_det.inference.onnx_detector import compare_with_onnx
from bpt_det.inference.onnx_export import export_pyramid
from bpt_det.prompts import ConditionedPrompt
from bpt_det.shapes import render_image
from bpt_det.utils.errors import InputError
from bpt_det.utils.extras import require_extra
from bpt_det.vit.exportable import exportable, resample_matrix, resample_positions
from tests.support.detectors import shrink, use_shapes
from tests.support.predictors import write_run

pytestmark = pytest.mark.heavy
NOISE = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def predictors(tmp_path_factory, shapes_root):
    """A cascade and a Mask R-CNN, tiny and random."""
    made = {}
    for config in ("shapes/cascade_bpt_s", "coco/mask_rcnn"):
        folder = tmp_path_factory.mktemp("run")
        write_run(folder, shapes_root, config)
        made[config] = Predictor.from_run(folder, device="cpu", score_threshold=0.0)
    return made


@pytest.fixture(scope="module")
def tiny(predictors):
    return predictors["shapes/cascade_bpt_s"]


def assert_equal(actual, expected):
    assert len(actual) == len(expected)
    assert torch.equal(actual.pred_classes, expected.pred_classes)
    torch.testing.assert_close(actual.scores, expected.scores, rtol=0, atol=1e-5)
    boxes = actual.pred_boxes.tensor, expected.pred_boxes.tensor
    torch.testing.assert_close(*boxes, rtol=0, atol=1e-3)
    if len(actual):
        assert (actual.pred_masks != expected.pred_masks).float().mean() < 1e-4


@pytest.mark.parametrize("sizes", [(8, 8), (13, 5), (3, 16), (64, 9)])
def test_positions_are_resampled_as_timm_does(sizes):
    positions = torch.randn(1, 2 + 6 * 8, 5, dtype=torch.float64)
    made = resample_positions(positions, sizes, (6, 8), num_prefix_tokens=2)
    expected = resample_abs_pos_embed(positions, sizes, (6, 8), num_prefix_tokens=2)
    torch.testing.assert_close(made, expected, rtol=0, atol=2e-5)  # timm's are in float32


def test_a_matrix_is_the_antialiased_cubic_of_pytorch():
    for old, new in ((7, 3), (3, 7), (10, 10)):
        signal = torch.eye(old)[None, None]  # each column is an impulse
        expected = F.interpolate(signal, (new, old), mode="bicubic", antialias=True)[0, 0]
        torch.testing.assert_close(resample_matrix(old, new), expected, rtol=0, atol=1e-5)


def test_an_exportable_vit_computes_the_same_and_is_left_as_it_was(tiny):
    network = tiny.model.backbone.net.prompted_vit
    images = torch.randn(2, 3, 40, 64)
    before = dict(network.prompts.items())
    with torch.no_grad():
        expected = network(images)
        for size in (None, (40, 64)):
            with exportable(network, size):
                names = {name for name, _ in network.prompts.named_parameters()}
                assert names == {"0.tokens"}  # the product, without its factors
                torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-5)
            assert dict(network.prompts.items()) == before
        assert torch.equal(network(images), expected)


def condition_prompts(network):
    """Make prompts depend on the image, by a shift that is not zero."""
    for index, prompt in dict(network.prompts.items()).items():
        network.prompts[index] = ConditionedPrompt(prompt, rank=2).eval()
        torch.nn.init.normal_(network.prompts[index].up)


def test_prompts_that_depend_on_the_image_stay_as_they_are(tiny):
    network = copy.deepcopy(tiny.model.backbone.net.prompted_vit)
    condition_prompts(network)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)
        with exportable(network, (64, 64)):
            torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-5)


def test_a_missing_package_is_named_with_what_installs_it():
    text = r"Pictures need the package 'absent_package'.*pip install 'bpt_det\[some\]'"
    with pytest.raises(InputError, match=text):
        require_extra("absent_package", "some", "Pictures")


@pytest.fixture
def onnx():
    return pytest.importorskip("onnxruntime", reason="pip install -r requirements-onnx.txt")


@pytest.fixture(scope="module")
def files(predictors, tmp_path_factory):
    """The ONNX file of each."""
    pytest.importorskip("onnxruntime", reason="pip install -r requirements-onnx.txt")
    folder = tmp_path_factory.mktemp("onnx")
    paths = {}
    for config, predictor in predictors.items():
        path = folder / f"{predictor.model.roi_heads.__class__.__name__}.onnx"
        assert export_detector(predictor, path) == 64
        paths[config] = path
    return paths


@pytest.mark.parametrize("config", ["shapes/cascade_bpt_s", "coco/mask_rcnn"])
def test_a_whole_detector_finds_the_same(predictors, files, config):
    predictor = predictors[config]
    detector = OnnxDetector(
        files[config], channel_format=predictor.channel_format, score_threshold=0.0
    )
    assert detector.class_names == predictor.class_names
    batch = [predictor.prepare(image) for image in (NOISE, NOISE[:30], 255 - NOISE)]
    for made, expected in zip(
        predict_batch(detector, batch), predictor.predict(batch), strict=True
    ):
        assert len(expected) > 3
        assert_equal(made, expected)
    assert not predictor.model.training


def test_a_file_without_objects_is_answered_with_none(files):
    detector = OnnxDetector(files["coco/mask_rcnn"], score_threshold=1.0)
    sample = {"image": torch.zeros(3, 64, 64, dtype=torch.uint8), "height": 20, "width": 30}
    (instances,) = predict_batch(detector, [sample])
    assert len(instances) == 0 and instances.pred_masks.shape == (0, 20, 30)


def test_the_command_writes_the_detector_of_the_package(onnx, tmp_path, capsys):
    command = ["--config-file", "shapes/cascade_bpt_s", "--output", f"{tmp_path}", "--onnx"]
    assert main(command) == 0
    text = capsys.readouterr().err
    assert "objects compared with the model" in text and ", masks within " in text
    predictor = Predictor(
        "shapes/cascade_bpt_s",
        "bpt_det:cascade_bpt_s_shapes.pth",
        device="cpu",
        score_threshold=0.05,
    )
    detector = OnnxDetector(tmp_path / "detector.onnx", channel_format=predictor.channel_format)
    images = [render_image(0, index, split="val", image_size=128)[0] for index in range(4)]
    batch = [predictor.prepare(image) for image in images]
    for made, expected in zip(
        predict_batch(detector, batch), predictor.predict(batch), strict=True
    ):
        assert len(expected) > 10
        assert_equal(made, expected)


def test_a_file_of_another_model_is_told_by_the_comparison(predictors, files):
    predictor = predictors["shapes/cascade_bpt_s"]
    compared = compare_with_onnx(predictor, files["shapes/cascade_bpt_s"], [NOISE])
    assert compared.num_objects > 3 and compared.pixels < 1e-3 and compared.score < 1e-5
    with pytest.raises(InputError, match="differs from the model: an object of score 0.* has no"):
        compare_with_onnx(predictor, files["coco/mask_rcnn"], [NOISE])


def test_masks_are_compared_too(predictors, files, monkeypatch):
    predict = OnnxDetector._predict

    def predict_inverted(self, sample):
        instances = predict(self, sample)
        instances.pred_masks = ~instances.pred_masks
        return instances

    monkeypatch.setattr(OnnxDetector, "_predict", predict_inverted)
    config = "shapes/cascade_bpt_s"
    with pytest.raises(InputError, match="differs from the model"):
        compare_with_onnx(predictors[config], files[config], [NOISE])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_command_keeps_no_file_that_was_not_compared(onnx, tmp_path, monkeypatch, files, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(
        export_command,
        "export_detector",
        lambda predictor, path, side: shutil.copy(files["coco/mask_rcnn"], path) and 64,
    )
    monkeypatch.setattr(export_command, "compare_with_onnx", fail)
    command = ["--config-file", "shapes/cascade_bpt_s", "--output", f"{tmp_path}", "--onnx"]
    with contextlib.suppress(RuntimeError):
        assert main(command) != 0
    assert list(tmp_path.iterdir()) == []


def test_the_command_keeps_no_file_that_differs(onnx, tmp_path, monkeypatch, files):
    def copy_other(predictor, path, side):
        shutil.copy(files["coco/mask_rcnn"], path)
        return 64

    monkeypatch.setattr(export_command, "export_detector", copy_other)
    command = ["--config-file", "shapes/cascade_bpt_s", "--output", f"{tmp_path}", "--onnx"]
    (tmp_path / "images").mkdir()
    Image.fromarray(NOISE).save(tmp_path / "images/noise.png")
    assert main([*command, "--images", f"{tmp_path}/images"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_sides_that_do_not_fit_are_refused_with_those_that_do(onnx, predictors, tmp_path):
    for side, text in (
        (100, "must be a multiple of 16, such as 96 or 112, got 100"),
        (5, "must be a multiple of 16, such as 16 or 32, got 5"),
        (48, "must be at least 64, to which the detector pads, got 48"),
    ):
        with pytest.raises(InputError, match=text):
            export_detector(predictors["shapes/cascade_bpt_s"], tmp_path / "d.onnx", side)
    assert list(tmp_path.iterdir()) == []


def test_files_and_images_that_do_not_fit_are_refused(files, tmp_path):
    (tmp_path / "no.onnx").write_bytes(b"no")
    with pytest.raises(InputError, match="is no ONNX file of a detector"):
        OnnxDetector(tmp_path / "no.onnx")
    sample = {"image": torch.zeros(3, 64, 65, dtype=torch.uint8)}
    with pytest.raises(InputError, match="64 x 65 pixels is larger than the 64 of the ONNX file"):
        OnnxDetector(files["coco/mask_rcnn"])([sample])


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        ["method=lora"],
        ["method=bpt_d", "model.backbone.net.layers=quarters", "model.backbone.net.neck_blocks=1"],
    ],
    ids=["lora", "deep prompts, layers, neck"],
)
def test_what_is_tuned_elsewhere_is_exported_as_it_is(onnx, settings, tmp_path, shapes_root):
    cfg = use_shapes(shrink(load_config("configs/shapes/cascade.py", settings)), shapes_root)
    cfg.train.device = "cpu"
    model = instantiate(cfg.model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".tuning." in name:
                parameter += 0.05 * torch.randn_like(parameter)
    FrozenAwareCheckpointer(model, str(tmp_path)).save("model_final")
    predictor = Predictor(cfg, tmp_path / "model_final.pth", score_threshold=0.05)
    export_detector(predictor, tmp_path / "d.onnx")
    compared = compare_with_onnx(predictor, tmp_path / "d.onnx", [NOISE])
    assert compared.num_objects > 3 and compared.pixels < 1e-3 and compared.score < 1e-5


@pytest.mark.slow
def test_prompts_that_depend_on_the_image_are_exported(onnx, tmp_path, shapes_root):
    write_run(tmp_path, shapes_root)
    predictor = Predictor.from_run(tmp_path, device="cpu", score_threshold=0.0)
    condition_prompts(predictor.model.backbone.net.prompted_vit)
    export_detector(predictor, tmp_path / "d.onnx")
    compared = compare_with_onnx(predictor, tmp_path / "d.onnx", [NOISE, 255 - NOISE])
    assert compared.num_objects > 3 and compared.pixels < 1e-3 and compared.score < 1e-5


@pytest.mark.slow
def test_backbone_and_pyramid_are_the_same_at_any_size(onnx, tiny, tmp_path):
    program = export_program(tiny).module()
    assert export_pyramid(tiny, tmp_path / "p.onnx") < 1e-4
    session = onnx.InferenceSession(str(tmp_path / "p.onnx"))
    assert not tiny.model.training
    model = copy.deepcopy(tiny.model)
    model.backbone.square_pad = 0
    for shape in ((1, 3, 64, 64), (3, 3, 64, 96), (2, 3, 160, 64)):
        images = 255 * torch.rand(shape)
        with torch.no_grad():
            expected = model.backbone((images - model.pixel_mean) / model.pixel_std)
            of_program = program(images)
        made = session.run(None, {"images": images.numpy()})
        for of_file, level, ours in zip(made, of_program, expected.values(), strict=True):
            torch.testing.assert_close(torch.from_numpy(of_file), ours, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(level, ours, rtol=1e-4, atol=1e-4)
