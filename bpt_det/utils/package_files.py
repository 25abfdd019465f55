"""Files that come with the package."""

from pathlib import Path


def config_folder() -> Path:
    """Return the folder of the configs that come with bpt_det: a checkout's, or the package's."""
    package = Path(__file__).parents[1]
    checkout = package.parent / "configs"
    return checkout if (checkout / "methods").is_dir() else package / "configs"
