"""The files a step writes for the runner: made fresh for each step, read back once, with distrust. Disk only.

A step may put anything in their place: whatever is no plain file of its own is refused, sizes are checked before a
byte is read. What the text means is `p2pwf.workflow.stepfiles`'s to say.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from p2pwf.workflow import StepFileError

MAX_BYTES: Final = 1024 * 1024
"""Of each file; GitHub's bound for outputs and summaries."""
NAMES: Final = {
    "GITHUB_OUTPUT": "set_output_",
    "GITHUB_ENV": "set_env_",
    "GITHUB_PATH": "add_path_",
    "GITHUB_STATE": "save_state_",
    "GITHUB_STEP_SUMMARY": "step_summary_",
}
_CREATE: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
_REWRITE: Final = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MADE: Final = stat.S_IFREG | 0o600
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FileCommands:
    """Makes the files of the steps of one job, in one folder, which is held open so that it cannot be swapped."""

    def __init__(self, folder: Path, owner: int | None = None) -> None:
        """`owner`: the user and group of the steps, if that is not this process's own."""
        self.folder = folder
        self.owner = owner
        self.descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._free: StepFiles | None = None

    def make(self, key: str) -> StepFiles:
        """Fresh, empty files for the step `key`, which no other step of the job has. Raises OSError."""
        free, self._free = self._free, None
        return StepFiles(self, key, free)

    def give_back(self, files: StepFiles) -> None:
        """Take the files of a step that has left them clean, for the next one to use."""
        self._free = files

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self.descriptor)


class StepFiles:
    """The files of one step. `paths`: by the names of their variables."""

    def __init__(self, owner: FileCommands, key: str, free: StepFiles | None) -> None:
        self._owner = owner
        self._key = key
        self._descriptor = owner.descriptor
        self._names: dict[str, str] = {}
        self._script = free.script_name if free is not None else ""
        for variable, prefix in NAMES.items():
            if free is not None and free.is_untouched(variable):
                self._names[variable] = free.name_of(variable)
            else:
                self._names[variable] = prefix + key
                made = os.open(prefix + key, _CREATE, 0o600, dir_fd=self._descriptor)
                if owner.owner is not None:
                    os.fchown(made, owner.owner, owner.owner)
                os.close(made)
        self.paths = {variable: f"{owner.folder}/{name}" for variable, name in self._names.items()}

    @property
    def script_name(self) -> str:
        """The name of the script's file, empty if none was written."""
        return self._script

    def name_of(self, variable: str) -> str:
        """The name of a file in the folder."""
        return self._names[variable]

    def script(self, suffix: str, text: str) -> Path:
        """Write the script of the step; raises OSError."""
        flags = _REWRITE
        if not (self._script and Path(self._script).suffix == suffix and self._untouched(self._script, empty=False)):
            self._script = f"script_{self._key}{suffix}"
            flags = _CREATE
        descriptor = os.open(self._script, flags, 0o600, dir_fd=self._descriptor)
        if self._owner.owner is not None:
            os.fchown(descriptor, self._owner.owner, self._owner.owner)
        with open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor has no path
            file.write(text.encode("utf-8", "replace"))
            file.truncate()  # afterwards: some file systems force out a file that was emptied to be rewritten
        return self._owner.folder / self._script

    def left_clean(self) -> None:
        """The step has ended, its files were read, and no process of it is left, so that nobody holds them open.

        Those that are as empty as they were made then are fresh ones for the next step too, and its script is
        written over. Making a file costs some file systems a hundred times what looking at one does.
        """
        self._owner.give_back(self)

    def is_untouched(self, variable: str) -> bool:
        """Whether a file is as it was made."""
        return self._untouched(self._names[variable])

    def _untouched(self, name: str, *, empty: bool = True) -> bool:
        try:
            status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            return False
        return status.st_mode == _MADE and status.st_nlink == 1 and (status.st_size == 0 or not empty)

    def read(self, variable: str) -> str:
        """What the step wrote to one of its files; a file that is gone is empty. Raises StepFileError."""
        hint = f"write text to ${variable}, and leave the file where it is"
        name = self._names[variable]
        try:
            status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
            if stat.S_ISREG(status.st_mode) and status.st_size == 0:
                return ""
            if not stat.S_ISREG(status.st_mode):
                raise StepFileError(f"{variable} is not the file that the step was given", hint)
            descriptor = os.open(name, _READ, dir_fd=self._descriptor)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise StepFileError(f"{variable} cannot be read: {error.strerror}", hint) from error
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise StepFileError(f"{variable} is not the file that the step was given", hint)
            if status.st_size > MAX_BYTES:
                raise StepFileError(f"{variable} is too large: {status.st_size} bytes, the bound is {MAX_BYTES}", hint)
            # It may still grow: a process that the step left behind can write to it.
            return file.read(MAX_BYTES).decode("utf-8", "replace") if status.st_size else ""
