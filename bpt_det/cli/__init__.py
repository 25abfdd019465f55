"""The command line: one module per command, found by the table in `bpt_det.cli.commands`."""
