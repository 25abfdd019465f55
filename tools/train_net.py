#!/usr/bin/env python
"""Train or evaluate a detector; the same as ``bpt-det train``."""

from bpt_det.cli.train import main

if __name__ == "__main__":
    raise SystemExit(main())
