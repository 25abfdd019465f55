"""Detectors that start from another one: heads of other classes, without masks, of Detectron2."""

import pytest
import torch
from detectron2.config import instantiate
from detectron2.data.datasets.builtin_meta import COCO_CATEGORIES

from bpt_det.config import load_config
from bpt_det.engine import FrozenAwareCheckpointer
from bpt_det.engine.model_state import trained_state
from bpt_det.engine.starting import Start
from bpt_det.utils.errors import InputError
from tests.support.detectors import shrink
from tests.support.paths import ROOT

pytestmark = pytest.mark.heavy

OLD, NEW = ["cat", "dog", "hen"], ["owl", "hen", "cat", "fox"]
COCO = [entry["name"] for entry in COCO_CATEGORIES if entry["isthing"]]
SCORE, BOX = "roi_heads.box_predictor.2.cls_score", "roi_heads.box_predictor.0.bbox_pred"
MASK = "roi_heads.mask_head.predictor"


def build(base="coco/cascade_bpt_s", num_classes=4, per_class=False, has_masks=True, seed=1, **net):
    cfg = shrink(load_config(str(ROOT / f"configs/{base}.py")))
    cfg.model.backbone.net.update(net)
    cfg.model.roi_heads.num_classes = num_classes
    if per_class:
        for predictor in cfg.model.roi_heads.box_predictors:
            predictor.cls_agnostic_bbox_reg = False
    if not has_masks:
        heads = cfg.model.roi_heads
        heads.mask_in_features = heads.mask_pooler = heads.mask_head = None
    torch.manual_seed(seed)
    return instantiate(cfg.model)


def save(model, folder, names):
    FrozenAwareCheckpointer(model, str(folder), class_names=names).save("model")
    return str(folder / "model.pth")


def start(model, path, names=NEW, **how):
    checkpointer = FrozenAwareCheckpointer(model, class_names=names, start=Start(**how))
    checkpointer.load(path)
    return checkpointer.report


def test_rows_of_known_classes_are_copied_in_scores_boxes_and_masks(tmp_path):
    old, new = build(num_classes=3, per_class=True), build(per_class=True, seed=2)
    path = save(old, tmp_path, OLD)
    initial = {key: value.clone() for key, value in trained_state(new).items()}
    report = start(new, path)
    assert (report.copied, report.new) == (["hen", "cat"], ["owl", "fox"])
    theirs, ours = trained_state(old), trained_state(new)
    for kind in ("weight", "bias"):
        for name, rows in ((SCORE, 1), (BOX, 4), (MASK, 1)):
            key = f"{name}.{kind}"
            for index, other in enumerate([None, 2, 0, None]):
                place = slice(index * rows, (index + 1) * rows)
                row = initial[key][place]
                if other is not None:
                    row = theirs[key][other * rows : (other + 1) * rows]
                assert torch.equal(ours[key][place], row), (key, index)
        assert torch.equal(ours[f"{SCORE}.{kind}"][4], theirs[f"{SCORE}.{kind}"][3])
    same = [key for key in ours if not key.startswith(tuple(report.class_layers))]
    assert len(same) > 50 and all(torch.equal(ours[key], theirs[key]) for key in same)


@pytest.mark.parametrize("names", [NEW, NEW[1:]])
def test_box_layers_of_all_classes_together_are_copied_whole(tmp_path, names):
    """Their 4 rows are no rows of classes, also where there are 3 or 4 classes."""
    old, new = build(num_classes=len(names)), build(num_classes=len(names), seed=2)
    start(new, save(old, tmp_path, names[::-1]), names)
    theirs, ours = trained_state(old), trained_state(new)
    for kind in ("weight", "bias"):
        assert torch.equal(ours[f"{BOX}.{kind}"], theirs[f"{BOX}.{kind}"])
        assert torch.equal(ours[f"{SCORE}.{kind}"][0], theirs[f"{SCORE}.{kind}"][len(names) - 1])


def test_a_detector_of_boxes_starts_from_one_with_masks_and_the_other_way(tmp_path):
    path = save(build(num_classes=3), tmp_path, OLD)
    report = start(build(has_masks=False), path)
    assert {key.split(".")[1] for key in report.dropped} == {"mask_head"}
    path = save(build(num_classes=3, has_masks=False), tmp_path, OLD)
    model = build(seed=2)
    initial = model.roi_heads.mask_head.predictor.weight.clone()
    start(model, path)
    assert torch.equal(model.roi_heads.mask_head.predictor.weight, initial)


@pytest.mark.parametrize("num_classes", [80, 3])
def test_the_pyramid_and_heads_of_detectron2s_vitdet_load_and_the_vit_stays(tmp_path, num_classes):
    published = build("coco/cascade_vitdet_b", num_classes=num_classes, seed=3)
    state = {key: value for key, value in published.state_dict().items()}
    path = str(tmp_path / "model_final.pth")
    torch.save({"model": state, "__author__": "Detectron2"}, path)
    model = build()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    names = ["owl", "dog", "cat", "fox"]
    report = start(model, path, names)
    assert report.has_new_prompts and report.known == (num_classes == 80)
    assert report.copied == (["dog", "cat"] if num_classes == 80 else [])
    after = model.state_dict()
    for key, value in after.items():
        if key.startswith("backbone.net."):
            assert torch.equal(value, before[key]), key
        elif not key.startswith(tuple(report.class_layers)):
            assert torch.equal(value, state[key]), key
    if num_classes == 80:
        row = state[f"{SCORE}.weight"][COCO.index("dog")]
        assert torch.equal(after[f"{SCORE}.weight"][1], row)
    assert all(key.startswith("backbone.net.") for key in report.dropped)
    with pytest.raises(InputError, match=r"init_prompts=frozen, but .* holds no prompts"):
        start(model, path, names, prompts="frozen")
    with pytest.raises(InputError, match="is not a checkpoint of this project"):
        FrozenAwareCheckpointer(model, class_names=names).load(path)  # to evaluate it


def test_new_rows_are_new_also_where_the_file_does_not_name_its_classes(tmp_path):
    path = save(build(), tmp_path, None)
    model = build(seed=2)
    initial = model.roi_heads.box_predictor[2].cls_score.weight.clone()
    report = start(model, path, classes="new")
    assert torch.equal(model.roi_heads.box_predictor[2].cls_score.weight, initial)
    assert report.new == NEW and not report.copied
    start(model, path)  # as many rows are taken to be of the same classes
    assert not torch.equal(model.roi_heads.box_predictor[2].cls_score.weight, initial)


@pytest.mark.parametrize(
    ("settings", "others", "name"),
    [({"layers": [1, 4]}, {"layers": [0, 4]}, "layers"), ({}, {"final_norm": True}, "final_norm")],
)
def test_settings_of_the_map_that_show_in_no_weight_are_compared(tmp_path, settings, others, name):
    path = save(build(num_classes=4, **settings), tmp_path, NEW)
    FrozenAwareCheckpointer(build(**settings), class_names=NEW).load(path)
    with pytest.raises(InputError, match=f"was trained with {name}="):
        FrozenAwareCheckpointer(build(**others), class_names=NEW).load(path)


def test_a_detector_with_a_federated_loss_starts_from_one_without_and_the_other_way(tmp_path):
    path = save(build(num_classes=3), tmp_path, OLD)
    federated = build("lvis/cascade")
    assert start(federated, path, prompts="new").copied == ["hen", "cat"]
    path = save(federated, tmp_path, NEW)
    for model in (build(num_classes=3), build("lvis/cascade", num_classes=3)):
        assert start(model, path, OLD, prompts="new").copied == ["cat", "hen"]


def test_another_backbone_or_size_is_one_line(tmp_path):
    path = save(build(num_classes=3), tmp_path, OLD)
    for base in ("coco/cascade_bpt_s", "coco/cascade_vitdet_b"):
        model = build(base, seed=4)
        if base == "coco/cascade_bpt_s":
            with torch.no_grad():
                next(model.backbone.net.prompted_vit.vit.parameters()).add_(1)
        with pytest.raises(InputError) as caught:
            start(model, path)
        text = str(caught.value)
        assert "\n" not in text and ("another frozen ViT" in text or "does not fit" in text)
