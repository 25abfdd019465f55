#!/usr/bin/env python
"""Report versions, GPUs, datasets, weights and what is missing; the same as ``bpt-det doctor``."""

from bpt_det.cli.app import command

main = command("doctor")

if __name__ == "__main__":
    raise SystemExit(main())
