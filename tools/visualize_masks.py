#!/usr/bin/env python
"""Draw ground truth beside predictions; the same as ``bpt-det visualize``."""

from bpt_det.cli.visualize import main

if __name__ == "__main__":
    raise SystemExit(main())
