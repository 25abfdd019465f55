"""The detector as a function of an image; a tiny one, with random weights."""

import copy
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import LazyCall as L
from detectron2.config import instantiate
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Boxes, Instances
from PIL import Image

import bpt_det
from bpt_det import Predictor
from bpt_det.engine import FrozenAwareCheckpointer, evaluate, load_trained_model
from bpt_det.prompts import WhitenedPrompt
from bpt_det.utils.errors import InputError
from tests.support.predictors import set_class_names, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory, shapes_root):
    """Folder of a run, and its config."""
    folder = tmp_path_factory.mktemp("run")
    return folder, write_run(folder, shapes_root)


@pytest.fixture(scope="module")
def files(run):
    return str(run[0] / "config.yaml"), str(run[0] / "model_final.pth")


@pytest.fixture(scope="module")
def predictor(files):
    return Predictor(*files, score_threshold=0.05)


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def assert_same(actual, expected, **tolerance):
    assert actual.image_size == expected.image_size
    assert actual.get_fields().keys() == expected.get_fields().keys()
    for name, value in actual.get_fields().items():
        values = [getattr(field, "tensor", field) for field in (value, expected.get(name))]
        torch.testing.assert_close(*values, **(tolerance or {"rtol": 0, "atol": 0}), msg=name)


class Keeper(DatasetEvaluator):
    """Keeps what an evaluation hands to its evaluator."""

    predictions = {}

    def process(self, inputs, outputs):
        for record, output in zip(inputs, outputs, strict=True):
            self.predictions[record["file_name"]] = output["instances"].to("cpu")


def test_finds_what_the_evaluation_of_train_net_finds(run, files):
    cfg = copy.deepcopy(run[1])
    cfg.dataloader.evaluator = L(Keeper)()
    evaluate(cfg, load_trained_model(cfg, files[1]))
    assert len(Keeper.predictions) == 6 and sum(map(len, Keeper.predictions.values())) > 20
    predictor = Predictor(*files, score_threshold=None)
    assert predictor.score_threshold == cfg.model.roi_heads.box_predictors[-1].test_score_thresh
    for file_name, expected in Keeper.predictions.items():
        assert_same(predictor(file_name), expected)


def test_a_path_an_array_and_a_pil_image_give_the_same(predictor, image, tmp_path):
    Image.fromarray(image).save(tmp_path / "a.png")
    expected = predictor(image)
    assert len(expected) > 3 and expected.image_size == (40, 56)
    assert expected.pred_masks.shape[1:] == (40, 56)
    for form in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(image)):
        assert_same(predictor(form), expected)


@pytest.mark.parametrize("square_pad", [64, 0])
def test_a_list_gives_what_its_images_give_one_by_one(files, image, square_pad):
    """Without padding to a square, images of other sizes would be padded in a common batch."""
    overrides = [f"model.backbone.square_pad={square_pad}"]
    predictor = Predictor(*files, overrides=overrides, score_threshold=0.09)
    images = [image, image[:20], image[:, :30], image[::-1], image[:40]]
    predictions = predictor(images, batch_size=3)
    assert len(predictions) == 5
    for member, instances in zip(images, predictions, strict=True):
        assert_same(instances, predictor(member), rtol=1e-4, atol=1e-4)


def test_another_mapper_is_refused(files):
    override = "dataloader.test.mapper._target_=builtins.dict"
    with pytest.raises(InputError, match="must be a DatasetMapper of .*, got dict") as caught:
        Predictor(*files, overrides=[override])
    assert caught.value.parameter == "mapper"


def test_an_empty_list_gives_an_empty_list(predictor):
    assert predictor([]) == []


def test_a_config_may_name_what_its_user_trusts(files, tmp_path):
    config = tmp_path / "config.yaml"
    text = Path(files[0]).read_text()
    config.write_text(text.replace("bpt_det.detection.ImageNamingMapper", "mine.Mapper"))
    with pytest.raises(InputError, match=r"mine\.Mapper"):
        Predictor(config, files[1])
    with pytest.raises(ImportError, match="mine"):
        Predictor(config, files[1], trust=["mine"])


def test_the_input_format_of_the_model_is_respected(files, image, predictor):
    swapped = Predictor(*files, overrides=["model.input_format=BGR"], score_threshold=0.05)
    assert_same(swapped(image[:, :, ::-1]), predictor(image))


def test_arrays_may_be_bgr(files, image, predictor, tmp_path):
    other = Predictor(*files, score_threshold=0.05, channel_order="BGR")
    assert_same(other(image[:, :, ::-1]), predictor(image))
    Image.fromarray(image).save(tmp_path / "a.png")
    assert_same(other(tmp_path / "a.png"), predictor(image))
    drawn = other.draw(image[:, :, ::-1], other(image[:, :, ::-1]))
    np.testing.assert_array_equal(drawn, predictor.draw(image, predictor(image)))


def test_objects_of_less_than_half_a_score_are_left_out(files, image):
    assert len(Predictor(*files)(image)) == 0


def test_run_lengths_are_those_of_the_masks(predictor, image):
    expected = predictor(image)
    (actual,) = predictor.predict([predictor.prepare(image)], run_lengths=True)
    assert torch.equal(torch.stack(list(actual.pred_masks)), expected.pred_masks)
    assert torch.equal(actual.pred_boxes.tensor, expected.pred_boxes.tensor)
    np.testing.assert_array_equal(predictor.draw(image, actual), predictor.draw(image, expected))


def test_an_image_of_one_tile_is_predicted_as_a_whole(predictor, image):
    expected = predictor(image)
    actual = predictor.predict_tiles(image, 64)
    assert torch.equal(actual.scores, expected.scores)
    assert torch.equal(torch.stack(list(actual.pred_masks)), expected.pred_masks)


def test_predictions_in_tiles_lie_where_the_tiles_do(predictor):
    image = np.random.default_rng(0).integers(0, 256, (40, 80, 3), dtype=np.uint8)
    left, right = predictor([image[:, :40], image[:, 40:]])
    merged = predictor.predict_tiles(image, 40, overlap=0, whole_image=False)
    assert merged.image_size == (40, 80) and len(merged) == len(left) + len(right)
    right.pred_boxes.tensor[:, [0, 2]] += 40
    expected = torch.cat([left.scores, right.scores]).argsort(descending=True, stable=True)
    boxes = torch.cat([left.pred_boxes.tensor, right.pred_boxes.tensor])[expected]
    torch.testing.assert_close(merged.pred_boxes.tensor, boxes, rtol=1e-4, atol=1e-3)
    masks = torch.zeros(len(merged), 40, 80, dtype=torch.bool)
    masks[: len(left), :, :40], masks[len(left) :, :, 40:] = left.pred_masks, right.pred_masks
    assert torch.equal(torch.stack(list(merged.pred_masks)), masks[expected])


def test_a_run_is_loaded_by_its_folder(run, predictor, image):
    FrozenAwareCheckpointer(predictor.model, str(run[0])).save("model_0000009")
    last = run[0] / "last_checkpoint"
    last.write_text("model_0000009.pth")
    actual = Predictor.from_run(run[0], score_threshold=0.05)
    assert_same(actual(image), predictor(image))
    text = repr(Predictor.from_run(str(run[0]), "model_final.pth", device="cpu"))
    assert "model_final.pth" in text and "device='cpu'" in text and "10 classes" in text
    last.unlink()


@pytest.mark.parametrize("name", ["", "model_best.pth"])
def test_a_folder_without_a_run_is_refused(run, tmp_path, name):
    folder = run[0] if name else tmp_path
    with pytest.raises(InputError, match=name or "config.yaml"):
        Predictor.from_run(folder, name or None)


def test_a_threshold_leaves_the_predictions_above_it_as_they_are(files, predictor, image):
    everything = predictor(image)
    threshold = everything.scores.median().item()
    expected = everything[everything.scores > threshold]
    assert 0 < len(expected) < len(everything)
    assert_same(Predictor(*files, score_threshold=threshold)(image), expected)


def test_what_is_found_can_be_changed_in_place(predictor, image):
    instances = predictor(image)
    instances.scores[0] = 1
    instances.pred_boxes.scale(2, 2)
    assert instances.scores[0] == 1


def test_works_in_another_folder_without_data(files, repository_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = ["dataloader.test.dataset.names=nowhere_to_be_found_val"]
    overrides += ["dataloader.test.dataset.json_file=nowhere/val.json"]
    checkpoint = set_class_names(files[1], list("abcdefghij"), tmp_path / "named.pth")
    predictor = Predictor(files[0], "named.pth", overrides=overrides)
    assert checkpoint.is_file() and predictor(np.zeros((30, 20, 3), np.uint8)).image_size == (
        30,
        20,
    )


def test_two_predictors_can_share_the_frozen_vit(files, predictor, image):
    second = Predictor(*files, score_threshold=0.05, share_vit_of=predictor)
    vits = [p.model.backbone.net.prompted_vit.vit for p in (predictor, second)]
    assert vits[0] is vits[1] and second.model is not predictor.model
    assert_same(second(image), predictor(image))


def test_a_loaded_config_is_not_changed(run, files):
    before = repr(run[1])
    predictor = Predictor(run[1], files[1], overrides=["model.input_format=BGR"], device="cpu")
    assert repr(run[1]) == before and predictor.class_names[0] == "disc"


def test_class_names_come_with_the_checkpoint(files, tmp_path, caplog):
    names = [f"kind {letter}" for letter in "abcdefghij"]
    checkpoint = set_class_names(files[1], names, tmp_path / "named.pth")
    assert Predictor(files[0], checkpoint).class_names == names
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_names_of_another_number_than_the_classes_are_not_taken(run, files, tmp_path):
    """Else a class had another's name, and predictions.json lacked categories."""
    checkpoint = set_class_names(files[1], ["cat", "dog", "hen"], tmp_path / "three.pth")
    class_names = Predictor(files[0], checkpoint).class_names
    assert class_names == MetadataCatalog.get(run[1].dataloader.test.dataset.names).thing_classes


def test_without_names_in_the_checkpoint_those_of_the_dataset_are_taken(run, files, tmp_path):
    checkpoint = set_class_names(files[1], None, tmp_path / "nameless.pth")
    expected = MetadataCatalog.get(run[1].dataloader.test.dataset.names)
    predictor = Predictor(files[0], checkpoint)
    assert predictor.class_names == expected.thing_classes


def test_without_any_names_classes_are_numbers_and_one_warning_says_so(files, tmp_path, caplog):
    checkpoint = set_class_names(files[1], None, tmp_path / "nameless.pth")
    overrides = ["dataloader.test.dataset.names=absent_val"]
    overrides += ["dataloader.test.dataset.json_file=absent.json"]
    predictor = Predictor(files[0], checkpoint, overrides=overrides)
    assert predictor.class_names == [f"class {index}" for index in range(10)]
    (warning,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "shown by number, as their names are unknown: dataset 'absent_val'" in warning.message


def test_prompts_made_of_token_statistics_need_no_statistics_here(run, tmp_path):
    """All their values are in the checkpoint."""
    cfg = copy.deepcopy(run[1])
    net = cfg.model.backbone.net
    net.prompt = L(WhitenedPrompt)(prompt_length=5, embed_dim=32, train_basis=False)
    cfg.train.prompt_statistics = "nowhere.safetensors"
    trained = instantiate(cfg.model)
    for value in trained.backbone.net.prompted_vit.prompts.state_dict().values():
        value.normal_()
    FrozenAwareCheckpointer(trained, str(tmp_path)).save("model")
    loaded = Predictor(cfg, tmp_path / "model.pth").model
    torch.testing.assert_close(loaded.state_dict(), trained.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 60), (900, 700)])
def test_images_of_any_size_are_taken(predictor, size):
    instances = predictor(np.zeros((*size, 3), dtype=np.uint8))
    assert instances.image_size == size and instances.pred_masks.shape[1:] == size


def test_an_image_too_thin_to_be_resized_is_refused_with_its_size(predictor):
    with pytest.raises(InputError, match="an image of 1 x 300 pixels is too thin to be resized"):
        predictor(np.zeros((1, 300, 3), dtype=np.uint8))


def test_predictions_come_at_the_size_that_is_asked_for(predictor, image):
    """So that no mask of a large photograph is made to be drawn small."""
    (instances,) = predictor.predict([predictor.prepare(image, size=(20, 28))])
    assert instances.image_size == (20, 28) and instances.pred_masks.shape[1:] == (20, 28)
    expected = predictor(image)
    torch.testing.assert_close(instances.pred_boxes.tensor * 2, expected.pred_boxes.tensor)


def test_a_picture_has_a_size_to_look_at_or_that_of_the_image(predictor, image):
    instances = predictor(image)[:2]
    assert predictor.draw(image, instances).shape == (40 * 10, 56 * 10, 3)
    picture = predictor.draw(image, instances, keep_size=True)
    assert picture.shape == image.shape and (picture != image).any()
    np.testing.assert_array_equal(predictor.draw(image, instances[:0], keep_size=True), image)


def test_the_picture_of_a_large_image_is_smaller_with_its_objects_in_place(predictor):
    image = np.full((1000, 3000, 3), 90, dtype=np.uint8)
    instances = Instances(
        (1000, 3000),
        scores=torch.tensor([0.5]),
        pred_classes=torch.tensor([0]),
        pred_boxes=Boxes(torch.tensor([[1500.0, 600.0, 2700.0, 900.0]])),
        pred_masks=torch.zeros(1, 1000, 3000, dtype=torch.bool),
    )
    instances.pred_masks[0, 600:900, 1500:2700] = True
    picture = predictor.draw(image, instances)
    assert picture.shape == (683, 2048, 3)
    rows, columns = (picture != 90).any(axis=2).nonzero()
    edges = np.array([rows.max(), columns.min(), columns.max()])  # above stands the label
    np.testing.assert_allclose(edges, np.array([900, 1500, 2700]) * 2048 / 3000, atol=3)


def test_predictions_of_another_image_are_not_drawn(predictor, image):
    with pytest.raises(InputError, match="an image of 40 x 56 pixels but the instances are of one"):
        predictor.draw(image, Instances((56, 40)))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"score_threshold": 1.5}, r"score_threshold must be in \[0, 1\], got 1.5"),
        ({"checkpoint": ""}, "no checkpoint given; pass the path of a model_"),
        ({"checkpoint": "absent.pth"}, "weights 'absent.pth' do not exist"),
        ({"config": "absent.py"}, "config file 'absent.py' does not exist"),
        ({"channel_order": "bgr"}, "channel_order"),
        ({"device": "tpu"}, "train.device must be auto, cpu, cuda or mps, got 'tpu'"),
        ({"overrides": ["train.devic=cpu"]}, "did you mean 'train.device'?"),
    ],
)
def test_a_bad_argument_is_named(files, changes, expected):
    arguments = dict(zip(("config", "checkpoint"), files, strict=True)) | changes
    with pytest.raises(InputError, match=expected):
        Predictor(**arguments)


def test_a_frozen_vit_that_is_missing_is_named(files):
    with pytest.raises(InputError, match="weights 'absent.pth' do not exist"):
        Predictor(*files, overrides=["model.backbone.net.vit.checkpoint=absent.pth"])


def test_a_batch_size_below_one_is_refused(predictor, image):
    with pytest.raises(InputError, match="batch_size must be an integer >= 1, got 0"):
        predictor([image], batch_size=0)


def test_what_is_no_image_is_refused_by_its_type(predictor):
    with pytest.raises(InputError, match="a NumPy array, a PIL image or a path, got Tensor"):
        predictor(torch.zeros(3, 5, 7))


def test_the_package_offers_the_predictor_and_nothing_unknown():
    assert bpt_det.Predictor is Predictor
    with pytest.raises(AttributeError, match="module 'bpt_det' has no attribute 'Detector'"):
        bpt_det.Detector  # noqa: B018
