#!/usr/bin/env python
"""Detect objects in images, folders and videos; the same as ``bpt-det predict``."""

from bpt_det.cli.app import command

main = command("predict")

if __name__ == "__main__":
    raise SystemExit(main())
