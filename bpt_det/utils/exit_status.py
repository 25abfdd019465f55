"""Exit statuses of all commands."""

EXIT_BAD_INPUT = 2
EXIT_CLOSED_PIPE = 141  # as shells count the signal of a pipe that nobody reads

# By the status of a run; a refused input has `EXIT_BAD_INPUT` instead of that of "failed".
EXIT_STATUS = {
    "running": 1,  # of a run that was killed; no command ends with it
    "finished": 0,
    "stopped_early": 0,
    "preempted": 75,
    "time_limit": 75,
    "interrupted": 130,  # as shells count the signal of Ctrl-C
    "diverged": 3,
    "failed": 1,
}
