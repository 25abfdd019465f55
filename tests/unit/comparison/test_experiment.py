"""Experiment plans: bad values are refused before anything runs."""

import pytest

from bpt_det.comparison import load_experiment
from bpt_det.utils.errors import InputError
from tests.support.plans import PLAN


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("plan = dict(", "plans = dict(", "has no `plan`"),
        ('command="train-cls",', "", "the plan of .* lacks command"),
        ("seeds=", "seed=", "has no 'seed'; it may have about, before, command, "),
        ('label="linear head", ', "", "method linear of .* lacks label"),
        ('config="b.py", ', "", "method bpt of .* lacks config"),
        ('curves=["bpt"]', 'curves=["spt"]', "plan.curves names spt, which is none of its methods"),
        ("seeds=[3, 4]", "seeds=[]", r"plan.seeds must be a list of integers, got \[\]"),
        ("[0.1, 0.01]", "0.1", "plan.grid must hold a list of values for each key, got 0.1 for "),
        ("[0.5]", "[]", "plan.methods.linear.grid must hold a list of values for each key, got"),
        ('"train-cls"', '"predict"', "plan.command must be train or train-cls, got 'predict'"),
        ('label="BPT"', 'name="x", label="BPT"', "method bpt of .* has no 'name'; it may have"),
        ('select="val/top1"', 'select="val/loss"', "plan.select must be a metric of which more is"),
        ('"bpt": dict(', '"spt": 3, "bpt": dict(', "method spt of .* must be a dict, got 3"),
        ('["python prepare.py"]', '"python x"', "plan.before must be a list of commands, got 'pyt"),
        ("curves=", "folds=1, curves=", "plan.folds must be an integer >= 2, or None, got 1"),
        (
            'label="BPT"',
            'seeds=3, label="BPT"',
            "plan.methods.bpt.seeds must be a list of integers",
        ),
        ("plan = dict(", "plan = (", "cannot be loaded|is not valid Python"),
        ("plan = dict(", "plan = dictionary(", "cannot be loaded: name 'dictionary' is not def"),
        ("methods={", "methods={}, others={", "compares no methods; list them in plan.methods"),
    ],
)
def test_a_plan_that_cannot_be_used_is_one_line(old, new, text, tmp_path):
    (tmp_path / "plan.py").write_text(PLAN.replace(old, new))
    with pytest.raises(InputError, match=text) as caught:
        load_experiment(str(tmp_path / "plan.py"))
    assert "\n" not in str(caught.value)


def test_the_label_of_a_method_is_that_of_its_file_unless_the_plan_gives_one(tmp_path):
    (tmp_path / "plan.py").write_text(PLAN.replace('label="BPT", ', ""))
    methods = load_experiment(str(tmp_path / "plan.py")).methods
    assert [method.label for method in methods] == ["linear head", "BPT-S"]


def test_a_plan_of_the_package_is_found_by_its_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where there is no folder configs/
    assert load_experiment("compare/cub") == load_experiment("configs/compare/cub.py")


def test_a_missing_plan_is_named():
    with pytest.raises(InputError, match="plan 'none.py' does not exist"):
        load_experiment("none.py")
