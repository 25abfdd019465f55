"""What a user is told about loaded weights."""

from collections.abc import Sequence
from dataclasses import dataclass

from bpt_det.utils.errors import shorten

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and standard deviation, RGB


@dataclass(frozen=True)
class LoadReport:
    """What a reader did with a file; `str()` is the report a user sees.

    Args:
        pretraining: name of the reader, such as MAE.
        location: path or address of the file, or ``timm:NAME``.
        loaded: names of the tensors in the ViT that were filled.
        resampled: what was resampled, and from which size to which; '' for nothing.
        ignored: names in the file that the ViT has no use for.
        num_parameters: numbers in ``loaded``.
        made: tensors that the file lacks and that got a neutral value, with the value.
        images: how its images were normalized, where that is not as usual; see `describe_images`.
    """

    pretraining: str
    location: str
    loaded: tuple[str, ...]
    resampled: str
    ignored: tuple[str, ...]
    num_parameters: int
    made: tuple[str, ...] = ()
    images: str = ""

    def __str__(self) -> str:
        lines = [
            f"{self.pretraining} weights from {self.location}",
            f"  loaded:     {len(self.loaded)} tensors, {self.num_parameters:,} parameters",
            f"  resampled:  {self.resampled or 'nothing'}",
            f"  ignored:    {shorten(self.ignored, 4) or 'nothing'}",
            "  missing:    nothing",
        ]
        if self.made:
            lines.append(f"  made:       {', '.join(self.made)}")
        if self.images:
            lines.append(f"  images:     {self.images}")
        return "\n".join(lines)


def describe_images(mean: Sequence[float], std: Sequence[float]) -> str:
    """Return what a report says of a normalization in [0, 1] that is not ImageNet's, else ''."""
    if (tuple(mean), tuple(std)) == _IMAGENET:
        return ""
    means, stds = ([round(255 * value, 3) for value in values] for values in (mean, std))
    return f"trained with pixel_mean={means} pixel_std={stds}"
