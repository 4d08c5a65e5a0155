"""A disk that can be filled to the last byte without harm to anybody else: a file system in memory of its own."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_CHUNK = bytes(64 * 1024)


@dataclass(frozen=True)
class SmallDisk:
    """Where it is mounted."""

    folder: Path

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leave no room at all."""
        with self._ballast.open("ab", buffering=0) as file:
            for chunk in (_CHUNK, b"\0"):
                try:
                    while True:
                        file.write(chunk)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()


@contextmanager
def small_disk(megabytes: int, user: str | None = None) -> Iterator[SmallDisk]:
    """One of that size, *user*'s; the test is skipped for whoever may not mount any."""
    folder = Path(tempfile.mkdtemp(prefix="wishlist-disk-"))
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(["mount", *options], check=False, capture_output=True).returncode:
        folder.rmdir()
        pytest.skip("only who may mount file systems can fill a disk")
    try:
        folder.chmod(0o755)
        if user is not None:
            shutil.chown(folder, user, user)
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()
