#!/usr/bin/env python
"""Train and evaluate a small detector from scratch; the same as ``bpt-det demo``."""

from bpt_det.cli.app import command

main = command("demo")

if __name__ == "__main__":
    raise SystemExit(main())
