#!/usr/bin/env python
"""Write a task file or ONNX files of a trained model; the same as ``bpt-det export``."""

from bpt_det.cli.app import command

main = command("export")

if __name__ == "__main__":
    raise SystemExit(main())
