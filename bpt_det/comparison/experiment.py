"""What is compared: methods, the settings tried for each, and the seeds of the final runs."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from detectron2.config import LazyConfig
from omegaconf import DictConfig, OmegaConf

from bpt_det.engine.config import as_override
from bpt_det.utils.errors import InputError, one_line

Settings = dict[str, Any]  # value by key of a config
_TOOLS = ("train_cls", "train_net")


@dataclass(frozen=True)
class Method:
    """One row of a comparison.

    Args:
        name: of its folder.
        label: what a table calls it.
        config: config file.
        settings: of this method alone.
        grid: values to try by key, in place of the plan's.
        statistics: name of the token statistics that are collected before its first run, in a
            file below the comparison's folder; methods may share one. None: it needs none.
    """

    name: str
    label: str
    config: str
    settings: Settings = field(default_factory=dict)
    grid: Mapping[str, Sequence] | None = None
    statistics: str | None = None


@dataclass(frozen=True)
class Run:
    """One training of a comparison.

    Args:
        method: what is trained.
        choice: the point of the grid.
        seed: of the training.
        is_final: whether it is tested; otherwise it helps to choose the point of the grid.
    """

    method: Method
    choice: Settings
    seed: int
    is_final: bool

    @property
    def folder(self) -> str:
        """Path of its output below that of the comparison."""
        if self.is_final:
            return f"{self.method.name}/seed_{self.seed}"
        point = "_".join(f"{key.rpartition('.')[2]}_{value}" for key, value in self.choice.items())
        return f"{self.method.name}/grid/{point or 'as_configured'}"


@dataclass(frozen=True)
class Plan:
    """A comparison.

    Args:
        name: of its section in the report and of its folder.
        title: heading of its section.
        about: what the section says before its table.
        tool: ``train_cls`` or ``train_net``.
        methods: in the order of the table.
        settings: of every run.
        grid: values to try by key; the best point of each method is chosen with the first seed.
        seeds: of the final runs.
        select: metric that chooses, of data that are not tested; the highest of a run counts.
        report: metrics of the final runs, by heading.
        final_settings, grid_settings: of these runs alone, such as those that turn off the test.
        curves: names of methods whose ``select`` is drawn over the training.
        before: commands that make what the runs read; the report names them.
    """

    name: str
    title: str
    about: str
    tool: str
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

    def final_runs(self, method: Method, choice: Settings) -> list[Run]:
        """Return a run for each seed."""
        return [Run(method, choice, seed, is_final=True) for seed in self.seeds]

    def only_choice(self, method: Method) -> Settings:
        """Return the one point of a method's grid where there is no choice."""
        grid = self.grid if method.grid is None else method.grid
        return {key: values[0] for key, values in grid.items()}

    def statistics_setting(self, method: Method, output: Path) -> Settings:
        """Return the setting that names a method's token statistics; none where it needs none."""
        if method.statistics is None:
            return {}
        return {"train.prompt_statistics": output / f"statistics/{method.statistics}.safetensors"}

    def overrides(self, run: Run, output: Path) -> list[str]:
        """Return the settings of a run as ``key=value``; later ones replace earlier ones."""
        settings = {
            **self.settings,
            **run.method.settings,
            **self.statistics_setting(run.method, output),
            **run.choice,
            **(self.final_settings if run.is_final else self.grid_settings),
            "train.seed": run.seed,
            "train.output_dir": output / run.folder,
        }
        return [_override(key, value) for key, value in settings.items()]


def _override(key: str, value: Any) -> str:
    if isinstance(value, str | Path):
        return as_override(key, value)
    return f"{key}={'null' if value is None else value}"


def load_plan(path: str) -> Plan:
    """Load the `plan` of a LazyConfig file.

    Raises:
        InputError: the file is missing or holds no plan, or a part of it is missing, unknown or
            out of range.
    """
    if not Path(path).is_file():
        raise InputError(f"plan '{path}' does not exist; see the folder configs/compare/.")
    try:
        content = LazyConfig.load(path).get("plan")
    except SyntaxError as error:
        raise InputError(f"plan '{path}' is not valid Python: {error.__cause__}.") from error
    except (ValueError, ImportError, AttributeError, TypeError, NameError) as error:
        raise InputError(f"plan '{path}' cannot be loaded: {one_line(error)}") from error
    if not isinstance(content, DictConfig):
        raise InputError(f"'{path}' holds no `plan`; see the folder configs/compare/.")
    content = OmegaConf.to_container(content)
    methods = content.pop("methods", None) or {}
    for name, method in methods.items():
        if not isinstance(method, dict):
            raise InputError(f"method {name} of '{path}' must be a dict, got {method!r}.")
    built = [
        _build(Method, f"method {name} of '{path}'", method, name=name)
        for name, method in methods.items()
    ]
    if not built:
        raise InputError(f"'{path}' compares no methods; give plan.methods some.")
    plan = _build(Plan, f"the plan of '{path}'", content, methods=tuple(built))
    _refuse_bad_values(plan)
    return plan


def _refuse_bad_values(plan: Plan) -> None:
    if plan.tool not in _TOOLS:
        raise InputError(f"plan.tool must be {' or '.join(_TOOLS)}, got '{plan.tool}'.")
    seeds = plan.seeds
    if not isinstance(seeds, list) or not seeds or not all(isinstance(s, int) for s in seeds):
        raise InputError(f"plan.seeds must be a list of whole numbers, got {seeds!r}.")
    if isinstance(plan.before, str):
        raise InputError(f"plan.before must be a list of commands, got '{plan.before}'.")
    grids = {"plan.grid": plan.grid} | {
        f"plan.methods.{method.name}.grid": method.grid
        for method in plan.methods
        if method.grid is not None
    }
    for name, grid in grids.items():
        for key, values in grid.items():
            if not isinstance(values, list) or not values:
                raise InputError(
                    f"{name} must hold a list of values for each key, got {values!r} for {key}."
                )
    if plan.select.endswith("loss"):
        raise InputError(
            f"plan.select must be a metric of which more is better, such as val/top1, got "
            f"'{plan.select}'."
        )
    names = [method.name for method in plan.methods]
    for name in plan.curves:
        if name not in names:
            raise InputError(
                f"plan.curves names {name}, which is none of its methods: {', '.join(names)}."
            )


def _build(kind: type, what: str, content: dict, **more: Any) -> Any:
    known = {one.name for one in fields(kind)} - set(more)
    unknown = sorted(set(content) - known)
    if unknown:
        raise InputError(f"{what} has no '{unknown[0]}'; it may have {', '.join(sorted(known))}.")
    try:
        return kind(**content, **more)
    except TypeError as error:  # names what is missing
        text = str(error).partition("__init__() ")[2]
        raise InputError(f"{what} is {text}; see the folder configs/compare/.") from error
