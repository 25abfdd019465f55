#!/usr/bin/env python
"""Train and test small classifiers from scratch; the same as ``bpt-det demo-cls``."""

from bpt_det.cli.demo_cls import main

if __name__ == "__main__":
    raise SystemExit(main())
