"""Submit a command to SLURM, with as many processes as there are GPUs.

Everything behind ``--`` is a command of bpt-det. A training that is preempted or out of its time
writes a checkpoint and is put into the queue again, to go on from it:

    bpt-det submit --nodes 2 --gpus-per-node 8 --hours 24 --partition gpu -- \\
        train --config-file coco/cascade_bpt_s train.output_dir=output/cascade_bpt_s

Logs and scripts of the job are in --folder. Without SLURM, ``--cluster local`` runs the processes
on this machine, and ``--wait`` ends with the status of the command. It takes the package submitit,
`pip install bpt_det[submit]`.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from .arguments import build_tool_parser


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = build_tool_parser("submit", __doc__, takes_settings=False)
    add = parser.add_argument
    add("--nodes", type=int, default=1, help="machines (default: 1)")
    add("--gpus-per-node", type=int, default=0, help="GPUs, and processes, of each (default: 0)")
    add("--processes", type=int, help="processes of each machine, where they are not the GPUs")
    add("--hours", type=float, default=24.0, help="time of one part of the run (default: 24)")
    add("--cpus", type=int, default=8, help="CPU cores of a process (default: 8)")
    add("--partition", help="SLURM's partition")
    add(
        "--slurm",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another option of sbatch, such as account=vision; may be repeated",
    )
    add("--name", default="bpt_det", help="name of the job (default: bpt_det)")
    add("--folder", type=Path, default=Path("output/jobs"), help="its files (default: output/jobs)")
    add("--cluster", choices=["slurm", "local"], default="slurm", help="where (default: slurm)")
    add("--wait", action="store_true", help="wait for the end, and end with its status")
    add("words", nargs="*", metavar="-- COMMAND", help="command of bpt-det")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, submit, and return the exit status."""
    args = build_parser().parse_args(argv)
    from .actions.submit import run

    return run(args)
