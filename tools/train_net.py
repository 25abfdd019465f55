#!/usr/bin/env python
"""Train or evaluate a detector described by a LazyConfig.

Uses the GPU if there is one, else the CPU. Settings of the config are changed as key=value:

    python tools/train_net.py --config-file configs/coco/cascade_bpt_s.py --num-gpus 8 \\
        train.output_dir=output/cascade_bpt_s
    python tools/train_net.py --config-file configs/coco/cascade_bpt_s.py --eval-only \\
        train.init_checkpoint=output/cascade_bpt_s/model_final.pth

A COCO-format dataset of your own, annotation file and image folder:

    python tools/train_net.py --config-file configs/coco/cascade_bpt_s.py \\
        data.train=/data/mine/train.json:/data/mine/images \\
        data.val=/data/mine/val.json:/data/mine/images
"""

from collections.abc import Sequence

from bpt_det.cli.launch import run_training_tool
from bpt_det.detection import use_detection_data


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, train or evaluate, and return the exit status."""
    return run_training_tool(__doc__, argv, adapt=use_detection_data)


if __name__ == "__main__":
    raise SystemExit(main())
