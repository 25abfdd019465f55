"""Progress: hooks that show it, draw the first batch and the curves, and record prompts."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.engine import HookBase
from torch import nn

from bpt_det.utils.progress import format_seconds, progress_bar
from bpt_det.utils.progress import logger as progress_logger
from bpt_det.visualization.curves import CURVES_NAME, PROMPT_RMS, draw_curves
from bpt_det.visualization.picture_files import save_picture
from bpt_det.visualization.samples import draw_samples

from ..metrics import METRICS_NAME, read_records
from ..protocols import prompted_networks
from ..storage import MAX_VALUES, WINDOW
from ..summary import count_epochs

logger = logging.getLogger(__name__)

BATCH_NAME = "training_batch.png"
_MOST_SAMPLES = 8  # drawn of a batch


class Progress(HookBase):
    """Hook that shows iteration, loss and remaining time: a bar on a terminal, else log lines.

    It changes nothing in the event storage. Register it in the main process alone, after the hooks
    that time the iterations and set the learning rate.

    Args:
        period: iterations from one line to the next.
        batch_size: images of an iteration.
    """

    def __init__(self, period: int, batch_size: int) -> None:
        self.period = period
        self.batch_size = batch_size

    def before_train(self) -> None:
        """Open the bar."""
        trainer = self.trainer
        self._epochs = count_epochs(1, self.batch_size, trainer.data_loader)
        self._start_time = time.perf_counter()
        start, total = trainer.start_iter, trainer.max_iter
        self._bar = progress_bar(desc="training", total=total, initial=start, unit="it")

    def after_step(self) -> None:
        """Show the iteration that has just been done."""
        done = self.trainer.iter + 1
        if not self._bar.disable:
            self._bar.set_postfix_str(self._numbers(), refresh=False)
            self._bar.update()
        elif done % self.period == 0 or done == self.trainer.max_iter:
            progress_logger.info("%s", self._line(done))

    def after_train(self) -> None:
        """Close the bar."""
        self._bar.close()

    def _line(self, done: int) -> str:
        total = self.trainer.max_iter
        times = self.trainer.storage.histories().get("time")  # without evaluations
        elapsed = (time.perf_counter() - self._start_time) / (done - self.trainer.start_iter)
        seconds = elapsed if times is None else times.median(MAX_VALUES)
        epoch = "" if self._epochs is None else f" (epoch {done * self._epochs:.2f})"
        left = format_seconds(seconds * (total - done))
        width = len(str(total))
        text = f"iteration {done:{width}}/{total}{epoch}  {self._numbers()}"
        return f"{text}  {seconds:.3g} s/it  {left} left"

    def _numbers(self) -> str:
        """Return loss and learning rate, smoothed as in metrics.json."""
        histories = self.trainer.storage.histories()
        parts = []
        if "total_loss" in histories:
            parts.append(f"loss {histories['total_loss'].median(WINDOW):.4g}")
        if "lr" in histories:
            parts.append(f"lr {histories['lr'].latest():.3g}")
        return "  ".join(parts)


class DrawCurves(HookBase):
    """Hook that draws the metrics of a run as ``curves.png`` when it ends.

    Register it in the main process alone, after the hook that writes metrics.json.

    Args:
        output_dir: folder of the run.
        names: see `draw_curves`.
    """

    def __init__(self, output_dir: str | Path, names: Sequence[str]) -> None:
        self.output_dir = Path(output_dir)
        self.names = list(names)

    def after_train(self) -> None:
        """Draw; a run whose curves cannot be drawn has not failed."""
        path = self.output_dir / CURVES_NAME
        try:
            draw_curves(read_records(self.output_dir / METRICS_NAME), path, self.names)
        except Exception as error:
            logger.warning("'%s' could not be drawn: %s", path, error)


class DrawBatch(HookBase):
    """Hook that draws the first batch as the mapper has made it: ``training_batch.png``.

    It goes into the event storage too. Register it in the main process alone.

    Args:
        output_dir: folder of the run.
        class_names: by class index, or None.
        image_format: RGB or BGR.
    """

    def __init__(
        self, output_dir: str | Path, class_names: Sequence[str] | None, image_format: str
    ) -> None:
        self.path = Path(output_dir) / BATCH_NAME
        self.class_names = class_names
        self.image_format = image_format

    def before_train(self) -> None:
        """Ask for the batch, unless an earlier part of the run has drawn its own."""
        self.trainer.keeps_batch = self.trainer.start_iter == 0

    def after_step(self) -> None:
        """Draw the batch, if there is one; a run whose batch cannot be drawn has not failed."""
        batch, self.trainer.kept_batch = self.trainer.kept_batch, None
        if batch is None:
            return
        try:
            samples = [sample for sample in batch if "image" in sample][:_MOST_SAMPLES]
            if not samples:
                return
            picture = draw_samples(samples, self.class_names, self.image_format)
            save_picture(picture, self.path)
            image = torch.from_numpy(picture).permute(2, 0, 1)
            self.trainer.storage.put_image("training/batch", image)
        except Exception as error:
            logger.warning("'%s' could not be drawn: %s", self.path, error)


class RecordPromptRms(HookBase):
    """Puts ``prompt_rms_<block>`` into the event storage, the root mean square of its tokens.

    Prompts that depend on the image are left out.

    Register it before the hook that writes the metrics.

    Args:
        model: with prompted networks, none or several.
        period: iterations from one record to the next; the first iteration is recorded too.
    """

    def __init__(self, model: nn.Module, period: int) -> None:
        self.model = model
        self.period = period

    @torch.no_grad()
    def after_step(self) -> None:
        """Record, if it is time."""
        done = self.trainer.iter + 1
        if done % self.period and done != 1:
            return
        for _, network in prompted_networks(self.model):
            prompts: Any = network.prompts.named_children()
            for index, prompt in prompts:
                if not prompt.ignores_image:
                    continue
                rms = prompt(1).float().square().mean().sqrt().item()
                self.trainer.storage.put_scalar(f"{PROMPT_RMS}{index}", rms, smoothing_hint=False)
