#!/usr/bin/env python
"""Draw ground truth beside predictions; the same as ``bpt-det visualize``."""

from bpt_det.cli.app import command

main = command("visualize")

if __name__ == "__main__":
    raise SystemExit(main())
