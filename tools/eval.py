#!/usr/bin/env python
"""Evaluate a trained detector or classifier; the same as ``bpt-det eval``."""

from bpt_det.cli.app import command

main = command("eval")

if __name__ == "__main__":
    raise SystemExit(main())
