"""Report of a comparison: its tables, its figure, and the other sections of the file."""

import pytest
from PIL import Image

from bpt_det.comparison import load_experiment, run_experiment, write_report
from bpt_det.comparison.markdown_report import draw_method_curves
from tests.support.plans import PLAN


@pytest.fixture
def experiment(tmp_path):
    (tmp_path / "plan.py").write_text(PLAN)
    return load_experiment(str(tmp_path / "plan.py"))


def test_the_report_has_means_and_spreads_and_keeps_other_sections(
    experiment, output, program, tmp_path
):
    report = tmp_path / "docs/results.md"
    report.parent.mkdir()
    report.write_text(
        "# Results\n\nBefore.\n<!-- birds: begin -->\nold\n<!-- birds: end -->\nAfter.\n"
    )
    results = run_experiment(experiment, output, program.words)
    for _ in range(2):  # the second time changes nothing
        write_report(experiment, results, report, output, "bpt-det compare --plan x")
        text = report.read_text()
        assert text.startswith("# Results\n\nBefore.\n") and text.endswith("After.\n")
        assert text.count("<!-- birds: begin -->") == 1 and "old" not in text
    commands = "    python prepare.py\n    bpt-det compare --plan x\n"
    assert f"## Birds\n\nWhat this is.\n\n{commands}" in text
    row = next(line for line in text.splitlines() if line.startswith("| BPT"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    # values of the seeds 3 and 4 at lr 0.1: 12 and 13 on test, 11 and 12 at the end on val
    assert cells == ["BPT", "1,234", "lr 0.1", "12.50 ± 0.71", "11.50 ± 0.71", "10"]
    assert "no choice" in text and "lr 0.1: 13.00; lr 0.01: 4.00" in text
    for name in ("results_birds.png", "results_birds_rms.png"):
        assert Image.open(report.parent / name).size == (800, 450)


def test_curves_have_the_values_of_the_seeds_and_prompts_a_root_mean_square_over_blocks(
    experiment, output, program, tmp_path, monkeypatch
):
    drawn = {}
    monkeypatch.setattr(
        "bpt_det.comparison.markdown_report.draw_method_curves",
        lambda curves, label, path, log_scale: drawn.update(
            {path.name: (curves, label, log_scale)}
        ),
    )
    results = run_experiment(experiment, output, program.words)
    write_report(experiment, results, tmp_path / "results.md", output, "command")
    text = (tmp_path / "results.md").read_text()
    assert all(f"]({name})" in text for name in drawn)
    assert drawn["results_birds.png"] == (
        {"BPT": {9: [13.0, 14.0], 19: [11.0, 12.0]}},
        "val/top1, mean ± standard deviation",
        False,
    )
    sizes, label, log_scale = drawn["results_birds_rms.png"]
    assert sizes == {"BPT": {9: [pytest.approx(12.5**0.5)] * 2}} and "RMS of the prompts" in label
    assert log_scale


def test_a_curve_is_drawn_as_the_mean_of_the_seeds_in_a_band_of_the_standard_deviation(
    tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(
        "bpt_det.comparison.markdown_report.save_figure", lambda figure, path: drawn.append(figure)
    )
    curves = {"BPT": {9: [13.0, 14.0, 18.0], 19: [20.0]}}
    draw_method_curves(curves, "top1", tmp_path / "curves.png", log_scale=True)
    axes = drawn[0].axes[0]
    draw_method_curves({"VPT": {9: [0.0]}}, "top1", tmp_path / "curves.png", log_scale=True)
    assert [figure.axes[0].get_yscale() for figure in drawn] == ["log", "linear"]
    assert axes.lines[0].get_ydata() == pytest.approx([15, 20])
    band = {tuple(point) for point in axes.collections[0].get_paths()[0].vertices}
    assert band == {(9, 15 - 7**0.5), (9, 15 + 7**0.5), (19, 20)}


def test_a_method_has_the_same_color_in_a_picture_where_another_has_no_values(
    tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(
        "bpt_det.comparison.markdown_report.save_figure", lambda figure, path: drawn.append(figure)
    )
    for linear in ({9: [1.0]}, {}):
        curves = {"VPT": {9: [1.0]}, "linear": linear, "BPT": {9: [2.0]}}
        draw_method_curves(curves, "top1", tmp_path / "curves.png", log_scale=True)
    axes = [figure.axes[0] for figure in drawn]
    colors = [[line.get_color() for line in each.lines] for each in axes]
    assert colors[0] == colors[1] and len(set(colors[0])) == 3
    labels = [each.get_legend_handles_labels()[1] for each in axes]
    assert labels == [["VPT", "linear", "BPT"], ["VPT", "BPT"]]


@pytest.mark.parametrize("behavior", ["diverge", "predict nothing"])
def test_a_run_without_a_value_is_reported_as_such(experiment, output, program, tmp_path, behavior):
    program.behave({"optimizer.lr=0.1": behavior, "train.seed=4": behavior})
    results = run_experiment(experiment, output, program.words)
    write_report(experiment, results, tmp_path / "results.md", output, "command")
    text = (tmp_path / "results.md").read_text()
    assert "lr 0.1: no value; lr 0.01: 4.00" in text and "nan" not in text
    assert text.count("(1 without a value)") == 4  # two metrics of two methods


def test_a_plan_without_a_choice_has_no_table_of_settings_and_a_row_without_values(
    output, program, tmp_path
):
    plan = PLAN.replace("[0.1, 0.01]", "[0.1]").replace('curves=["bpt"]', "curves=[]")
    (tmp_path / "plan.py").write_text(plan.replace('"test top-1": "test', '"val top-1": "val'))
    program.behave({"a.py": "diverge"})
    experiment = load_experiment(str(tmp_path / "plan.py"))
    results = run_experiment(experiment, output, program.words)
    write_report(experiment, results, tmp_path / "results.md", output, "command")
    text = (tmp_path / "results.md").read_text()
    assert "Settings tried" not in text and "![" not in text
    rows = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("| ")]
    header, linear, bpt = [[cell.strip() for cell in row] for row in rows]
    assert header == ["method", "trained", "chosen", "val top-1", "s per run"]
    assert linear[3] == "2 without a value" and bpt[3] == "11.50 ± 0.71"


def test_a_new_report_begins_with_its_heading(experiment, output, program, tmp_path):
    results = run_experiment(experiment, output, program.words)
    write_report(experiment, results, tmp_path / "new.md", output, "command")
    assert (tmp_path / "new.md").read_text().startswith("# Results\n\n<!-- birds: begin -->\n")


def test_a_part_of_a_comparison_is_reported_with_what_is_missing(
    experiment, output, program, tmp_path
):
    results = run_experiment(experiment, output, program.words, only=["bpt"])
    write_report(experiment, results[:-1], tmp_path / "results.md", output, "command")
    text = (tmp_path / "results.md").read_text()
    assert "| BPT (1 of 2 seeds) |" in text and "| linear head |" not in text.split("Settings")[0]
    assert "Not run yet: linear head." in text


@pytest.mark.parametrize("grid", ["[0.1, 0.01, 0.03]", "[0.1, 0.01]"])
def test_a_choice_at_the_end_of_its_grid_is_said(output, program, tmp_path, grid):
    (tmp_path / "plan.py").write_text(PLAN.replace("[0.1, 0.01]", grid))
    experiment = load_experiment(str(tmp_path / "plan.py"))
    results = run_experiment(experiment, output, program.words)
    write_report(experiment, results, tmp_path / "results.md", output, "command")
    sentence = "Chosen at the end of a grid, where values beyond may be better: BPT (lr 0.1).\n"
    assert (sentence in (tmp_path / "results.md").read_text()) == ("0.03" in grid)


@pytest.mark.parametrize(
    ("grid_settings", "text"),
    [
        ("{}", "Chosen with runs of full length."),
        ('{"train.epochs": 1}', "Chosen with runs of 1 epochs, not of 2 as the final ones."),
    ],
)
def test_the_report_says_how_long_the_runs_were_that_chose(
    output, program, tmp_path, grid_settings, text
):
    old = 'grid_settings={"dataloader.final_test": None}'
    plan = PLAN.replace(old, f"grid_settings={grid_settings}")
    (tmp_path / "plan.py").write_text(plan)
    experiment = load_experiment(str(tmp_path / "plan.py"))
    results = run_experiment(experiment, output, program.words)
    write_report(experiment, results, tmp_path / "results.md", output, "command")
    assert text in (tmp_path / "results.md").read_text()


def test_final_runs_that_are_trained_on_the_validation_images_have_no_value_of_them(
    output, program, tmp_path
):
    settings = 'final_settings={"dataloader.train.dataset.split": "trainval"}'
    (tmp_path / "plan.py").write_text(PLAN.replace("curves=[", f"{settings}, curves=["))
    experiment = load_experiment(str(tmp_path / "plan.py"))
    results = run_experiment(experiment, output, program.words)
    write_report(experiment, results, tmp_path / "results.md", output, "command")
    assert "val/top1 (last)" not in (tmp_path / "results.md").read_text()
