"""`keno` commands in the process of the tests, where the process is not the point: starting one costs a second.

Not for commands that serve: they hear signals, which only the main thread does.
"""

import asyncio
import io
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

from keno import cli

Keno = Callable[..., subprocess.CompletedProcess[str]]
"""`keno_here` in some environment."""


def keno_here(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a process with this whole environment would have printed and ended with. One call at a time."""
    output, errors, codes = io.StringIO(), io.StringIO(), list[int]()

    def run() -> None:
        try:
            cli.main(arguments)
        except SystemExit as ended:
            codes.append(int(ended.code or 0))

    with (
        patch.dict(os.environ, environment, clear=True),
        patch.object(cli, "configure_logging", lambda **_: None),  # it is for the whole process, which is the tests'
        redirect_stdout(output),
        redirect_stderr(errors),
    ):
        # A thread of its own, as the command has an event loop of its own. What it raises fails the test.
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert codes, f"keno {' '.join(arguments)} did not end: {errors.getvalue()}"
    return subprocess.CompletedProcess(["keno", *arguments], codes[0], output.getvalue(), errors.getvalue())


async def told(keno: Keno, *arguments: str, code: int = 0) -> str:
    """What the command prints, on the error stream where it fails as it should."""
    done = await asyncio.to_thread(keno, *arguments)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout
