"""A small file system that can be filled to its last byte and emptied again, while servers work on it.

It takes leave to mount. Whoever has none, as all but root have, gets it over what only its own processes see: in a user
namespace, to which the kernel gives its capabilities, with mounts of its own.
"""

import asyncio
import errno
import functools
import inspect
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_CHUNK = bytes(1_000_000)
_TEST_TIMEOUT_S = 300
# The user stays who it is: PostgreSQL does not run as root, of a namespace either.
_NAMESPACE = ("unshare", "--user", "--map-current-user", "--keep-caps", "--mount")


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


def where_it_may_mount(test: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """Runs a test here if this process may mount, else all of it in a namespace where it may.

    Skips it with the reasons where neither is allowed.
    """

    @functools.wraps(test)
    async def run() -> None:
        refused = _refusal()
        if refused is None:
            await test()
            return
        # As root the servers have an account of their own, and a namespace of one user has no place for it.
        refused_within = "as root the test takes no namespace" if os.geteuid() == 0 else _refusal(*_NAMESPACE)
        if refused_within is not None:
            pytest.skip(f"NOT TESTED, this machine lets nobody mount: {refused}; in a namespace: {refused_within}")
        await asyncio.to_thread(_run_in_namespace, f"{inspect.getfile(test)}::{test.__name__}")

    return run


def _run_in_namespace(test: str) -> None:
    command = [*_NAMESPACE, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test]
    # It is a run of its own, which takes away what is left of it.
    environment = {
        name: value for name, value in os.environ.items() if name != "KENO_TEST_RUN" and not name.startswith("PYTEST_")
    }
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        try:
            output, _ = run.communicate(timeout=_TEST_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            # As by Ctrl-C: the test ends its servers.
            run.send_signal(signal.SIGINT)
            output, _ = run.communicate(timeout=_TEST_TIMEOUT_S)
    assert run.returncode == 0, output
    assert "1 passed" in output, output


def _refusal(*within: str) -> str | None:
    """Why this process, or one that it starts `within`, may not mount; None where it may."""
    with tempfile.TemporaryDirectory(prefix="keno-mount-") as folder:
        try:
            subprocess.run([*within, *_mount(folder, 4_096)], check=True, capture_output=True, text=True)
        except subprocess.CalledProcessError as refused:
            return str(refused.stderr).partition("\n")[0]
        except OSError as missing:
            return str(missing)
        if not within:
            subprocess.run(["umount", folder], check=True)
    return None


@contextmanager
def moved_to_small_disk(folder: Path, spare_bytes: int) -> Iterator[SmallDisk]:
    """Puts a folder, with all that is in it, on a file system of its own with so much room left."""
    used_bytes = sum(each.lstat().st_blocks * 512 for each in folder.rglob("*"))
    aside = folder.with_name(f"{folder.name}.aside")
    folder.rename(aside)
    folder.mkdir()
    subprocess.run(_mount(folder, used_bytes + spare_bytes), check=True)
    try:
        subprocess.run(["cp", "--archive", "--no-target-directory", aside, folder], check=True)
        shutil.rmtree(aside)
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _mount(folder: str | Path, size_bytes: int) -> list[str]:
    return ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "keno-small-disk", str(folder)]
