"""Experiment: methods to compare, the grid of settings of each, and the seeds of the final runs."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from detectron2.config import LazyConfig
from omegaconf import DictConfig, OmegaConf

from bpt_det.config.files import config_folder, find_methods
from bpt_det.config.loading import as_override
from bpt_det.utils.errors import InputError, one_line

Settings = dict[str, Any]  # value by key of a config
_COMMANDS = ("train", "train-cls")


@dataclass(frozen=True)
class Method:
    """One row of a comparison.

    Args:
        name: of its folder.
        label: its name in tables; left out in a plan, that of its ``method``.
        config: config file, or name of a config that comes with bpt_det.
        method: that the config is composed with; None: a config that is not a base.
        settings: of this method alone.
        grid: values to try by key, in place of the experiment's.
        statistics: name of the file, below the comparison's folder, that its token statistics are
            collected into before its first run; methods may share one. None: it needs none.
    """

    name: str
    label: str
    config: str
    method: str | None = None
    settings: Settings = field(default_factory=dict)
    grid: Mapping[str, Sequence] | None = None
    statistics: str | None = None


@dataclass(frozen=True)
class Run:
    """One training of a comparison.

    Args:
        method: what is trained.
        point: of the grid.
        seed: of the training.
        is_final: whether it is tested; otherwise it belongs to the grid search.
    """

    method: Method
    point: Settings
    seed: int
    is_final: bool

    @property
    def folder(self) -> str:
        """Path of its output below that of the comparison."""
        if self.is_final:
            return f"{self.method.name}/seed_{self.seed}"
        name = "_".join(f"{key.rpartition('.')[2]}_{value}" for key, value in self.point.items())
        return f"{self.method.name}/grid/{name or 'as_configured'}"


@dataclass(frozen=True)
class Experiment:
    """A comparison of methods: a grid search for each, then runs with every seed.

    Args:
        name: of its section in the report and of its folder.
        title: heading of its section.
        about: text of the section before its table.
        command: that trains, ``train`` or ``train-cls``.
        methods: in the order of the table.
        settings: of every run.
        grid: values to try by key; each method's best point is chosen with the first seed.
        seeds: of the final runs.
        select: metric that chooses, on data that are not tested; the highest of a run counts.
        report: metrics of the final runs by column heading.
        final_settings, grid_settings: of these runs alone; the latter turn off the final test.
        curves: names of methods whose ``select`` is drawn over the training.
        before: commands that prepare the data, for the report.
    """

    name: str
    title: str
    about: str
    command: str
    methods: tuple[Method, ...]
    settings: Settings
    grid: Mapping[str, Sequence]
    seeds: Sequence[int]
    select: str
    report: Mapping[str, str]
    final_settings: Settings = field(default_factory=dict)
    grid_settings: Settings = field(default_factory=dict)
    curves: Sequence[str] = ()
    before: Sequence[str] = ()

    def grid_runs(self, method: Method) -> list[Run]:
        """Return a run for each point of a method's grid; none where there is no choice."""
        grid = self.grid if method.grid is None else method.grid
        points = [
            dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
        ]
        if len(points) < 2:
            return []
        return [Run(method, point, self.seeds[0], is_final=False) for point in points]

    def final_runs(self, method: Method, point: Settings) -> list[Run]:
        """Return a run for each seed."""
        return [Run(method, point, seed, is_final=True) for seed in self.seeds]

    def only_point(self, method: Method) -> Settings:
        """Return the one point of a method's grid where there is no choice."""
        grid = self.grid if method.grid is None else method.grid
        return {key: values[0] for key, values in grid.items()}

    def statistics_setting(self, method: Method, output: Path) -> Settings:
        """Return the setting that names a method's token statistics; none where it needs none."""
        if method.statistics is None:
            return {}
        return {"train.prompt_statistics": output / f"statistics/{method.statistics}.safetensors"}

    def overrides(self, run: Run, output: Path) -> list[str]:
        """Return the overrides of a run: ``method=NAME`` and its settings as ``key=value``.

        A later setting replaces an earlier one of the same key.
        """
        settings = {
            **self.settings,
            **run.method.settings,
            **self.statistics_setting(run.method, output),
            **run.point,
            **(self.final_settings if run.is_final else self.grid_settings),
            "train.seed": run.seed,
            "train.output_dir": output / run.folder,
        }
        composed = [] if run.method.method is None else [f"method={run.method.method}"]
        return [*composed, *(_override(key, value) for key, value in settings.items())]


def _override(key: str, value: Any) -> str:
    if isinstance(value, str | Path):
        return as_override(key, value)
    return f"{key}={'null' if value is None else value}"


def load_experiment(path: str) -> Experiment:
    """Load the `plan` of a LazyConfig file.

    Raises:
        InputError: the file is missing or has no `plan`, or a field of it is missing, unknown or
            out of range.
    """
    if not Path(path).is_file():
        raise InputError(f"plan '{path}' does not exist.", hint="plan")
    try:
        content = LazyConfig.load(path).get("plan")
    except SyntaxError as error:
        raise InputError(f"plan '{path}' is not valid Python: {error.__cause__}.") from error
    except (ValueError, ImportError, AttributeError, TypeError, NameError) as error:
        raise InputError(f"plan '{path}' cannot be loaded: {one_line(error)}") from error
    if not isinstance(content, DictConfig):
        raise InputError(f"'{path}' has no `plan`.", hint="plan")
    content = OmegaConf.to_container(content)
    methods = content.pop("methods", None) or {}
    for name, method in methods.items():
        if not isinstance(method, dict):
            raise InputError(f"method {name} of '{path}' must be a dict, got {method!r}.")
    built = [
        _build(
            Method, f"method {name} of '{path}'", {**_default_label(method), **method}, name=name
        )
        for name, method in methods.items()
    ]
    if not built:
        raise InputError(f"'{path}' compares no methods; give plan.methods some.")
    experiment = _build(Experiment, f"the plan of '{path}'", content, methods=tuple(built))
    _check_values(experiment)
    return experiment


def _check_values(experiment: Experiment) -> None:
    command = experiment.command
    if command not in _COMMANDS:
        raise InputError(f"plan.command must be {' or '.join(_COMMANDS)}, got '{command}'.")
    seeds = experiment.seeds
    if not isinstance(seeds, list) or not seeds or not all(isinstance(s, int) for s in seeds):
        raise InputError(f"plan.seeds must be a list of integers, got {seeds!r}.")
    if isinstance(experiment.before, str):
        raise InputError(f"plan.before must be a list of commands, got '{experiment.before}'.")
    grids = {"plan.grid": experiment.grid} | {
        f"plan.methods.{method.name}.grid": method.grid
        for method in experiment.methods
        if method.grid is not None
    }
    for name, grid in grids.items():
        for key, values in grid.items():
            if not isinstance(values, list) or not values:
                raise InputError(
                    f"{name} must hold a list of values for each key, got {values!r} for {key}."
                )
    if experiment.select.endswith("loss"):
        raise InputError(
            f"plan.select must be a metric of which more is better, such as val/top1, got "
            f"'{experiment.select}'."
        )
    names = [method.name for method in experiment.methods]
    for name in experiment.curves:
        if name not in names:
            raise InputError(
                f"plan.curves names {name}, which is none of its methods: {', '.join(names)}."
            )


def _build(kind: type, what: str, content: dict, **more: Any) -> Any:
    known = {field.name: field for field in fields(kind) if field.name not in more}
    unknown = sorted(set(content) - set(known))
    if unknown:
        raise InputError(f"{what} has no '{unknown[0]}'; it may have {', '.join(sorted(known))}.")
    missing = [
        name
        for name, field in known.items()
        if name not in content and field.default is MISSING and field.default_factory is MISSING
    ]
    if missing:
        raise InputError(f"{what} lacks {', '.join(missing)}.", hint="plan")
    return kind(**content, **more)


def _default_label(method: dict) -> Settings:
    """Return the label of the method that a method of a plan is composed with, if there is one."""
    file = find_methods(config_folder()).get(str(method.get("method")))
    return {} if file is None else {"label": LazyConfig.load(str(file)).method.label}
