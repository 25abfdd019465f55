"""Every kind of COCO file is read, repaired or refused alike by check, training and evaluation."""

import gc
import json
import math

import pytest

from tests.support.coco_kinds import KINDS
from tests.support.coco_kinds.kinds import (
    REFUSED,
    REPAIRED,
    SOUND,
    WARNED,
    Data,
    draw_images,
    sound_content,
)
from tests.support.coco_kinds.stages import (
    check,
    run_apart,
    score_truth,
    tiny_config,
    train,
    warm_up,
)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A tiny detector, in a process that is ready to be forked."""
    cfg, data = tiny_config(), new_data(tmp_path_factory.mktemp("warm"), sound_content())
    data.write()
    warm_up(cfg, data)
    yield cfg
    gc.unfreeze()


@pytest.fixture(scope="module")
def losses_of(config, tmp_path_factory):
    """The losses of sound content, computed once for each."""
    known = {}

    def losses(content):
        key = json.dumps(content)
        if key not in known:
            data = new_data(tmp_path_factory.mktemp("sound"), content)
            data.write()
            run = run_apart(lambda send: send(train(config, data.folder / "run", data, data)))
            assert run["status"] == 0, run
            known[key] = run["losses"]
        return known[key]

    return losses


def new_data(folder, content):
    data = Data(content, folder)
    draw_images(data.images)
    return data


def all_stages(send, kind, data, config, sound):
    """Send what each stage says; ``later`` trains on a sound file, to evaluate on the other."""
    send({"check": check(data)})
    send({"train": train(config, data.folder / "trained", data, data)})
    if kind.outcome == REFUSED or not kind.trains:
        send({"later": train(config, data.folder / "later", sound, data)})
    if kind.outcome != REFUSED:
        send({"truth": score_truth(data, kind.meaning() if kind.meaning else data.content)})


def examine(name, config, losses_of, tmp_path):
    """Return what is not as it should be, as texts."""
    kind = KINDS[name]
    data = new_data(tmp_path / "kind", sound_content(kind.base))
    sound = new_data(tmp_path / "sound", sound_content(kind.base))
    sound.write()
    kind.spoil(data)
    data.write()
    seen = run_apart(all_stages, kind, data, config, sound)
    if seen["ended"] != "well":
        stage = [s for s in ("check", "train", "later", "truth") if s not in seen][0]
        return [f"{stage}: {seen['ended'].strip().splitlines()[-1]}"]
    return list(faults(kind, data, seen, losses_of))


def faults(kind, data, seen, losses_of):
    """Yield what is not as it should be."""
    is_refused = kind.outcome == REFUSED
    yield from faults_of_check(kind, seen["check"])
    if is_refused or not kind.trains:
        yield from faults_of_refusal("train", kind, seen["train"])
    if is_refused:
        yield from faults_of_refusal("later", kind, seen["later"])
    else:
        yield from faults_of_run(kind, seen["train" if kind.trains else "later"], losses_of)
        for task, metrics in seen["truth"]["metrics"].items():
            if kind.ap is not None and not math.isclose(metrics["AP"], kind.ap, abs_tol=1e-9):
                yield f"truth: {task} AP {metrics['AP']}"
        if kind.trains and not seen["truth"]["metrics"]:
            yield "truth: no metrics"


def faults_of_check(kind, said):
    told = {name: how for name, how in said["kinds"].items() if name != "no_masks"}
    if said["status"] not in ([1, 2] if kind.outcome == REFUSED else [0]):
        yield f"check: status {said['status']} {said['errors']}, {told}"
    if said["status"] == 2 and len(said["errors"]) != 1:
        yield f"check: {len(said['errors'])} errors"
    if kind.outcome == SOUND and set(told.values()) - {"note"}:
        yield f"check: finds {told}"
    if kind.outcome in (WARNED, REPAIRED) and not told:
        yield "check: finds nothing"


def faults_of_refusal(stage, kind, said):
    if said["status"] != 2 or len(said["errors"]) != 1:
        yield f"{stage}: status {said['status']}, not refused; {said['errors']}"
    elif (said["losses"] or said["metrics"]) and not kind.late:
        yield f"{stage}: refused after the first iteration; {said['errors']}"


def faults_of_run(kind, said, losses_of):
    warnings = [text for text in said["warnings"] if "no segmentations" not in text]
    if said["status"] != 0:
        yield f"train: status {said['status']} {said['errors']}"
        return
    if kind.outcome == REPAIRED and not warnings:
        yield "train: says nothing"
    if kind.outcome == SOUND and warnings:
        yield f"train: says {warnings}"
    if said["not_strict"]:
        yield f"train: {said['not_strict']}"
    if kind.meaning and not kind.may_differ:
        expected = losses_of(kind.meaning())
        if said["losses"] != expected:
            yield f"train: loss {said['losses'].get('total_loss')}, not {expected['total_loss']}"


# One of many of its like each; the others are left to `make test-all`.
QUICK = {
    "annotation ids around 0",
    "annotation ids are texts",
    "annotation id twice in two images",
    "image ids above 2^53",
    "image id twice",
    "category ids are texts of digits",
    "image_id of an unlisted image",
    "box of 5 numbers",
    "box without mask null",
    "box of width 0",
    "boxes are fractions of the image",
    "box beyond the image by 3",
    "polygon not nested",
    "polygon of 256 parts",
    "polygon with 1e9",
    "polygon on a line",
    "RLE compressed",
    "RLE that sums to more",
    "area NaN",
    "areas a hundred times",
    "iscrowd 2",
    "eight of twelve crowd",
    "all crowd",
    "category name a lone surrogate",
    "categories in another order",
    "image height 0",
    "image width and height swapped",
    "file name with backslashes, as on Windows",
    "image file a FIFO",
    "image file turned upright by EXIF, tiff",
    "annotations missing",
    "file with a byte order mark",
    "file in cp1252",
    "nesting of 100000",
    "file name with quotes and commas",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in KINDS],
)
def test_a_kind_of_file_has_its_outcome_in_every_stage(name, config, losses_of, tmp_path):
    assert not examine(name, config, losses_of, tmp_path)


def test_there_are_at_least_200_kinds_and_the_quick_ones_are_among_them():
    assert len(KINDS) >= 200 and QUICK <= set(KINDS)
