"""Drawing masks from the command line: a micro model on rendered images."""

import logging
import re

import pytest
from detectron2.config import LazyConfig, instantiate
from PIL import Image

from bpt_det.cli import visualize as command
from bpt_det.cli.actions import visualize as action
from bpt_det.config import load_config
from bpt_det.engine import FrozenAwareCheckpointer
from bpt_det.inference import predictor
from tests.support.detectors import shrink
from tests.support.predictors import set_class_names


@pytest.fixture
def tool():
    return command


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, repository_root):
    """Folder with config.yaml and the checkpoint of a model that was never trained."""
    folder = tmp_path_factory.mktemp("run")
    cfg = shrink(load_config(str(repository_root / "configs/shapes/cascade_bpt_s.py")))
    cfg.train.output_dir = str(folder)
    cfg.train.device = "cpu"
    LazyConfig.save(cfg, str(folder / "config.yaml"))
    FrozenAwareCheckpointer(instantiate(cfg.model), str(folder)).save("model_final")
    return folder


@pytest.fixture
def arguments(run_dir, shapes_root, tmp_path):
    """Options of a call that succeeds, and its overrides."""
    options = {"--config-file": run_dir / "config.yaml", "--output": tmp_path / "pictures"}
    overrides = [
        f"dataloader.test.dataset.names={shapes_root.parent.name}_val",
        f"+dataloader.test.dataset.json_file={shapes_root}/annotations/instances_val.json",
        f"+dataloader.test.dataset.image_root={shapes_root}/val",
    ]

    def join(**changes):
        changed = {f"--{key.replace('_', '-')}": value for key, value in changes.items()}
        pairs = {**options, **changed}.items()
        return [str(part) for pair in pairs for part in pair] + overrides

    return join


def error_of(tool, capsys, argv):
    assert tool.main(argv) == 2
    lines = capsys.readouterr().err.splitlines(keepends=True)
    (error,) = [line for line in lines if line.startswith("error: ")]
    assert error == lines[-1]
    return error


def test_draws_a_picture_per_image_and_a_contact_sheet(tool, arguments, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        assert tool.main(arguments(num_images=2, score_threshold=0.1)) == 0
    sheet = tmp_path / "pictures/contact_sheet.png"
    assert f"2 of 6 images drawn, see {sheet}" in caplog.text
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["000000000002.png", "000000000005.png", "contact_sheet.png"]
    with Image.open(tmp_path / "pictures/000000000002.png") as picture:
        assert picture.width > picture.height  # two panels
        assert max(picture.size) >= 2 * 512


def test_draws_training_samples_without_a_checkpoint(tool, arguments, tmp_path, shapes_root):
    name = f"{shapes_root.parent.name}_train"
    options = [
        f"dataloader.train.dataset.names={name}",
        f"+dataloader.train.dataset.json_file={shapes_root}/annotations/instances_train.json",
        f"+dataloader.train.dataset.image_root={shapes_root}/train",
        "dataloader.train.mapper.instance_mask_format=bitmask",
        f"train.output_dir={tmp_path}/nothing",
    ]
    for folder in ("a", "b"):
        words = arguments(split="train", num_images=2, output=tmp_path / folder)
        assert tool.main([*words, *options]) == 0
    pictures = sorted((tmp_path / "a").iterdir())
    assert len(pictures) == 3
    for path in pictures:
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_options_of_drawing_reach_the_pictures(tool, arguments, tmp_path):
    plain, changed = tmp_path / "plain", tmp_path / "changed"
    assert tool.main(arguments(num_images=1, output=plain)) == 0
    words = arguments(num_images=1, output=changed, labels="none", opacity="0.1", line_width="3")
    assert tool.main(["--boxes", *words]) == 0
    assert [
        path.read_bytes() == (changed / path.name).read_bytes() for path in plain.iterdir()
    ] == [False, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"split": "train", "input": "x"},
            "draws training data alone; leave --input",
        ),
        ({"opacity": "2"}, "--opacity must be in [0, 1], got 2.0."),
        ({"font_size": "0"}, "--font-size must be in [1, 500], got 0.0."),
    ],
)
def test_what_cannot_be_drawn_is_refused(tool, arguments, capsys, changes, message):
    assert message in error_of(tool, capsys, arguments(**changes))


def test_the_same_call_draws_the_same_pictures(tool, arguments, tmp_path):
    for folder in ("a", "b"):
        assert tool.main(arguments(num_images=1, output=tmp_path / folder)) == 0
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_draws_a_folder_of_images_of_any_size(tool, arguments, tmp_path, shapes_root):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, size in (("wide.jpg", (1500, 90)), ("same.jpg", (50, 60)), ("same.png", (1, 1))):
        Image.new("RGB", size).save(photos / name)
    assert tool.main(arguments(input=photos)) == 0
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["contact_sheet.png", "same.png", "same_2.png", "wide.png"]


def test_a_folder_of_images_needs_no_dataset(tool, run_dir, tmp_path, caplog):
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (50, 60)).save(photos / "a.png")
    overrides = [
        "dataloader.test.dataset.names=nowhere_val",
        "+dataloader.test.dataset.json_file=nowhere/val.json",
        "+dataloader.test.dataset.image_root=nowhere/val",
    ]
    argv = ["--config-file", f"{run_dir}/config.yaml", *overrides, "--input", str(photos)]
    assert tool.main([*argv, "--output", str(tmp_path / "pictures")]) == 0
    assert "classes are shown by number, as their names are unknown: dataset" in caplog.text


def test_predictions_are_named_as_in_the_checkpoint(
    tool, arguments, run_dir, tmp_path, monkeypatch
):
    names = [f"name {number}" for number in range(10)]
    renamed = set_class_names(run_dir / "model_final.pth", names, tmp_path / "renamed.pth")
    drawn = []

    def draw(image, annotations, class_names, class_colors, **options):
        drawn.append(list(class_names))
        return image

    for module in (action, predictor):
        monkeypatch.setattr(module, "draw_annotations", draw)
    assert tool.main(arguments(num_images=1, checkpoint=renamed)) == 0
    ground_truth, prediction = drawn
    assert ground_truth[0] == "disc" and prediction == names


def test_the_ground_truth_is_left_of_the_prediction(tool, arguments, tmp_path, monkeypatch):
    """And a folder of images has none."""
    titles = []
    side_by_side = action.side_by_side

    def record(panels, captions):
        titles.append(list(captions))
        return side_by_side(panels, captions)

    monkeypatch.setattr(action, "side_by_side", record)
    Image.new("RGB", (50, 60)).save(tmp_path / "a.png")
    changes = {"num_images": 1, "score_threshold": 1}
    assert tool.main(arguments(**changes)) == 0
    assert tool.main(arguments(**changes, input=tmp_path, output=tmp_path / "more")) == 0
    nothing = "prediction: 0 objects (score > 1)"
    assert [title[1] for title in titles] == [nothing, nothing]
    assert re.fullmatch(r"ground truth: \d+ objects?", titles[0][0]) and titles[1][0] == "image"


def test_earlier_pictures_are_not_overwritten(tool, arguments, tmp_path, capsys):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/contact_sheet.png").write_text("mine")
    error = error_of(tool, capsys, arguments())
    assert "already holds contact_sheet.png; choose another folder, or delete this one." in error
    assert (tmp_path / "pictures/contact_sheet.png").read_text() == "mine"


def test_images_are_not_overwritten_by_their_pictures(tool, arguments, tmp_path, capsys):
    Image.new("RGB", (50, 60)).save(tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    error = error_of(tool, capsys, arguments(input=tmp_path, output=tmp_path))
    assert "already holds a.png" in error
    assert (tmp_path / "a.png").read_bytes() == before


def test_a_picture_never_takes_the_name_of_the_contact_sheet(tool, arguments, tmp_path):
    photos = [tmp_path / "photos" / name for name in ("contact_sheet.jpg", "a.jpg", "a.png")]
    photos[0].parent.mkdir()
    for path in photos:
        Image.new("RGB", (50, 60)).save(path)
    assert tool.main(arguments(input=tmp_path / "photos")) == 0
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["a.png", "a_2.png", "contact_sheet.png", "contact_sheet_2.png"]


def test_an_output_folder_that_cannot_be_written_is_named(tool, arguments, tmp_path, capsys):
    (tmp_path / "file").touch()
    error = error_of(tool, capsys, arguments(output=tmp_path / "file/pictures"))
    assert "cannot write to --output '" in error and "Not a directory; choose another" in error


@pytest.mark.parametrize("number", [0, -3])
def test_less_than_one_image_is_refused(tool, arguments, capsys, number):
    error = error_of(tool, capsys, arguments(num_images=number))
    assert error == f"error: --num-images must be at least 1, got {number}.\n"


@pytest.mark.parametrize("threshold", [-0.1, 1.5, float("nan")])
def test_a_threshold_outside_0_to_1_is_refused(tool, arguments, capsys, threshold):
    error = error_of(tool, capsys, arguments(score_threshold=threshold))
    assert error == f"error: --score-threshold must be in [0, 1], got {threshold}.\n"


def test_a_missing_input_folder_is_one_line(tool, arguments, tmp_path, capsys):
    error = error_of(tool, capsys, arguments(input=tmp_path / "absent"))
    assert "absent' is not a folder; give one that holds images." in error


def test_an_unreadable_image_is_one_line(tool, arguments, tmp_path, capsys):
    (tmp_path / "a.jpg").write_text("no image")
    error = error_of(tool, capsys, arguments(input=tmp_path))
    assert "a.jpg' cannot be read" in error


def test_a_missing_checkpoint_is_one_line(tool, arguments, tmp_path, capsys):
    error = error_of(tool, capsys, arguments(checkpoint=tmp_path / "absent.pth"))
    assert "absent.pth" in error


def test_an_override_that_names_no_key_is_one_line(tool, arguments, capsys):
    error = error_of(tool, capsys, [*arguments(), "train.device_=cpu"])
    assert "did you mean 'train.device'?" in error


def test_the_help_says_how_images_are_chosen_and_shows_an_example(tool, capsys):
    with pytest.raises(SystemExit) as stop:
        tool.main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "evenly over the data: sorted by image_id" in text
    assert "bpt-det visualize --config-file " in text
