"""A small file system that can be filled to its last byte and emptied again, while servers work on it."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_CHUNK = bytes(1_000_000)


@dataclass(frozen=True)
class SmallDisk:
    folder: Path

    def fill(self) -> None:
        """Leaves room for nothing."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (len(_CHUNK), 4_096, 1):
                try:
                    while ballast.write(_CHUNK[:size]):
                        pass
                except OSError as failure:
                    if failure.errno != errno.ENOSPC:
                        raise

    def empty(self) -> None:
        """Gives back what `fill` took."""
        self._ballast.unlink()

    @property
    def _ballast(self) -> Path:
        return self.folder / "ballast"


@contextmanager
def moved_to_small_disk(folder: Path, spare_bytes: int) -> Iterator[SmallDisk]:
    """Puts a folder, with all that is in it, on a file system of its own with so much room left."""
    used_bytes = sum(each.lstat().st_blocks * 512 for each in folder.rglob("*"))
    aside = folder.with_name(f"{folder.name}.aside")
    folder.rename(aside)
    folder.mkdir()
    _mount(folder, used_bytes + spare_bytes)
    try:
        subprocess.run(["cp", "--archive", "--no-target-directory", aside, folder], check=True)
        shutil.rmtree(aside)
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _mount(folder: Path, size_bytes: int) -> None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "keno-small-disk", str(folder)]
    tried = subprocess.run(command, check=False, capture_output=True, text=True)
    if tried.returncode != 0:
        who = "as root" if os.geteuid() == 0 else f"as user {os.geteuid()}, who is not root"
        pytest.skip(
            f"NOT TESTED: a disk that fills up. This machine mounts no file system {who}: {tried.stderr.strip()}"
        )
