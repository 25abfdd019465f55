#!/usr/bin/env python
"""Train or evaluate an image classifier; the same as ``bpt-det train-cls``."""

from bpt_det.cli.train_cls import main

if __name__ == "__main__":
    raise SystemExit(main())
