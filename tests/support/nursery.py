"""Processes of `keno` that start in a fraction of a second: forked from one that has everything imported.

For runs in which hundreds of them are killed. As seen from outside they are the processes that `keno ARGUMENTS` starts.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["support.nursery", "keno.cli"])


class Nursling:
    """One running process."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self._process: BaseProcess = _forks.Process(target=_live, args=(arguments, dict(environment), log))
        self.started_s = time.time()
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit status, as of subprocess.Popen; None while it lives."""
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def wait(self, timeout_s: float = 60) -> int:
        self._process.join(timeout_s)
        status = self.poll()
        assert status is not None, "it does not end"
        return status


def _live(arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
    from keno.cli import main

    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["keno", *arguments]
    main()
