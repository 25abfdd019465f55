#!/usr/bin/env python
"""Install Detectron2; the same as ``bpt-det setup-detectron2``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # bpt_det is installed after it

from bpt_det.cli.app import command  # noqa: E402

main = command("setup-detectron2")

if __name__ == "__main__":
    raise SystemExit(main())
