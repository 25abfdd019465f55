"""Experiment: methods to compare, the grid of settings of each, and the seeds of the final runs."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bpt_det.config.overrides import as_override
from bpt_det.data.splits import TRAINVAL
from bpt_det.utils.errors import InputError

Settings = dict[str, Any]  # value by key of a config
_TRAIN_SPLIT = "dataloader.train.dataset.split"
_LENGTHS = {"train.epochs": "epochs", "train.max_iter": "iterations"}


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
        seeds: of its final runs, in place of the experiment's.
    """

    name: str
    label: str
    config: str
    method: str | None = None
    settings: Settings = field(default_factory=dict)
    grid: Mapping[str, Sequence] | None = None
    statistics: str | None = None
    seeds: Sequence[int] | None = None


@dataclass(frozen=True)
class Run:
    """One training of a comparison.

    Args:
        method: what is trained.
        point: of the grid.
        seed: of the training.
        is_final: whether it is tested; otherwise it belongs to the grid search.
        fold: ``i/k`` of a grid search by k folds.
    """

    method: Method
    point: Settings
    seed: int
    is_final: bool
    fold: str | None = None

    @property
    def folder(self) -> str:
        """Path of its output below that of the comparison."""
        if self.is_final:
            return f"{self.method.name}/seed_{self.seed}"
        name = "_".join(f"{key.rpartition('.')[2]}_{value}" for key, value in self.point.items())
        folder = f"{self.method.name}/grid/{name or 'as_configured'}"
        return folder if self.fold is None else f"{folder}/fold_{self.fold.replace('/', '_of_')}"


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
        select: metric that chooses, on data that are not tested.
        select_last: whether the last value of a run counts, in place of the highest. Its final
            runs should then test the last weights, ``train.final_weights=last``.
        folds: k, for a grid search in which each point has k runs, validated on another part of
            the training and validation images each; their mean counts. None: one run, validated
            on the validation images.
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
    select_last: bool = False
    folds: int | None = None

    def grid_of(self, method: Method) -> Mapping[str, Sequence]:
        """Return the values that a method tries by key: its own, or else the experiment's."""
        return self.grid if method.grid is None else method.grid

    def grid_runs(self, method: Method) -> list[Run]:
        """Return the runs of each point of a method's grid; none where there is no choice."""
        grid = self.grid_of(method)
        points = [
            dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
        ]
        if len(points) < 2:
            return []
        folds = [f"{i + 1}/{self.folds}" for i in range(self.folds)] if self.folds else [None]
        seed = self.seeds[0]
        return [Run(method, point, seed, False, fold) for point in points for fold in folds]

    def final_runs(self, method: Method, point: Settings) -> list[Run]:
        """Return a run for each seed."""
        seeds = self.seeds if method.seeds is None else method.seeds
        return [Run(method, point, seed, is_final=True) for seed in seeds]

    @property
    def validates_final_runs(self) -> bool:
        """Whether final runs are validated on images that they are not trained on."""
        settings = {**self.settings, **self.final_settings}
        return settings.get(_TRAIN_SPLIT) != TRAINVAL

    @property
    def final_metric(self) -> str:
        """Metric of final runs that is followed over the training."""
        return self.select if self.validates_final_runs else next(iter(self.report.values()))

    def with_overrides(self, overrides: Sequence[str]) -> "Experiment":
        """Return the experiment with ``key=value`` in place of what its ``settings`` say.

        Raises:
            InputError: an override is not ``key=value``.
        """
        settings = dict(self.settings)
        for override in overrides:
            key, equals, value = override.partition("=")
            if not equals or not key:
                raise InputError(f"override '{override}' is not of the form key=value.")
            settings[key] = _Verbatim(value)
        return replace(self, settings=settings)

    @property
    def choice_length(self) -> str:
        """How long the runs that choose are beside the final ones, as a sentence."""
        for key, unit in _LENGTHS.items():
            chosen, final = (
                {**self.settings, **more}.get(key)
                for more in (self.grid_settings, self.final_settings)
            )
            if chosen != final:
                known = final if final is not None else "the configured"
                return f"Chosen with runs of {chosen} {unit}, not of {known} as the final ones."
        return "Chosen with runs of full length."

    def only_point(self, method: Method) -> Settings:
        """Return the one point of a method's grid where there is no choice."""
        return {key: values[0] for key, values in self.grid_of(method).items()}

    def at_end_of_grid(self, method: Method, point: Settings) -> Settings:
        """Return the part of a point that is the lowest or highest of at least three numbers."""
        numbers = {
            key: values
            for key, values in self.grid_of(method).items()
            if len(values) > 2 and all(isinstance(value, int | float) for value in values)
        }
        return {
            key: point[key]
            for key, values in numbers.items()
            if point[key] in (min(values), max(values))
        }

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
            **({} if run.fold is None else {"dataloader.fold": run.fold}),
            "train.seed": run.seed,
            "train.output_dir": output / run.folder,
        }
        composed = [] if run.method.method is None else [f"method={run.method.method}"]
        return [*composed, *(_override(key, value) for key, value in settings.items())]


class _Verbatim(str):
    """A value as it is typed on the command line."""


def _override(key: str, value: Any) -> str:
    if isinstance(value, _Verbatim):
        return f"{key}={value}"
    if isinstance(value, str | Path):
        return as_override(key, value)
    return f"{key}={'null' if value is None else value}"
