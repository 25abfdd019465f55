"""Task files on a model hub: thin calls of huggingface_hub, which timm has brought along."""

import os
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError

from bpt_det.engine.task_file import CARD_NAME, TASK_NAME, find_task, read_card
from bpt_det.utils.errors import InputError, one_line

# The bases: where there is no connection, the HTTP library's own errors come through, and which
# library that is depends on the version.
_ERRORS: Any = (*HfHubHTTPError.__bases__, OSError, ValueError)


def push_to_hub(
    folder: str | os.PathLike, repository: str, *, private: bool = True, **options: Any
) -> str:
    """Upload a task file and its card to a model hub; return the address of the commit.

    Args:
        folder: that an export has written.
        repository: ``OWNER/NAME``; made if need be.
        private: whether a new repository can be seen by its owner alone.
        options: of `huggingface_hub.upload_folder`, such as ``commit_message``.

    Raises:
        InputError: the folder holds no task file, or the hub refuses or does not answer.
    """
    read_card(find_task(folder))
    files = [TASK_NAME, CARD_NAME]
    try:
        huggingface_hub.create_repo(repository, private=private, exist_ok=True)
        commit = huggingface_hub.upload_folder(
            repo_id=repository, folder_path=Path(folder), allow_patterns=files, **options
        )
    except _ERRORS as error:
        raise InputError(
            f"'{folder}' could not be uploaded to '{repository}' ({one_line(error)[:200]}); log in "
            "with `hf auth login`, and check the name OWNER/NAME."
        ) from error
    return str(commit)


def download_task(repository: str, revision: str | None = None) -> str:
    """Return the folder of a task file on a model hub, which is downloaded once.

    Args:
        repository: ``OWNER/NAME``.
        revision: branch, tag or commit; None: the latest.

    Raises:
        InputError: there is none, or the hub does not answer.
    """
    try:
        return huggingface_hub.snapshot_download(
            repository, revision=revision, allow_patterns=[TASK_NAME, CARD_NAME]
        )
    except _ERRORS as error:
        raise InputError(
            f"the task file of '{repository}' could not be downloaded ({one_line(error)[:200]}); "
            "check the name OWNER/NAME, and log in with `hf auth login` if it is private."
        ) from error
