#!/usr/bin/env python
"""Train or evaluate an image classifier described by a LazyConfig.

Uses the GPU if there is one, else the CPU. Settings of the config are changed as key=value:

    python tools/train_cls.py --config-file configs/fgvc/cub_bpt_s.py \\
        dataloader.root=/data train.output_dir=output/cub_bpt_s
    python tools/train_cls.py --config-file configs/fgvc/cub_bpt_s.py --eval-only \\
        dataloader.root=/data train.init_checkpoint=output/cub_bpt_s/model_best.pth

Images of your own, one folder per class, in a folder or a zip archive:

    python tools/train_cls.py --config-file configs/fgvc/cub_bpt_s.py data=folder:/data/mine
"""

from collections.abc import Sequence

from bpt_det.classification import use_classification_data
from bpt_det.cli.launch import run_training_tool


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, train or evaluate, and return the exit status."""
    return run_training_tool(__doc__, argv, adapt=use_classification_data)


if __name__ == "__main__":
    raise SystemExit(main())
