#!/usr/bin/env python
"""Convert a dataset into COCO annotation files; the same as ``bpt-det convert``."""

from bpt_det.cli.app import command

main = command("convert")

if __name__ == "__main__":
    raise SystemExit(main())
