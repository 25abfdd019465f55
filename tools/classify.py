#!/usr/bin/env python
"""Classify images and folders of images; the same as ``bpt-det classify``."""

from bpt_det.cli.app import command

main = command("classify")

if __name__ == "__main__":
    raise SystemExit(main())
