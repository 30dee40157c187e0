"""A page of a headless Chromium, driven over its DevTools protocol: no more of it than the tests of our pages need.

Not Playwright, whose package alone is 50 MB and wants a browser of its own; see docs/decisions/0036.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

PROGRAM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
_PATIENCE_S = 60


class ChromiumPage:
    """The one page of a browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command and its result; events meanwhile are dropped."""
        number = next(self._numbers)
        await self._connection.send(json.dumps({"id": number, "method": method, "params": params}))
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                answer = json.loads(await self._connection.recv())
                if answer.get("id") == number:
                    assert "error" not in answer, f"{method}: {answer['error']}"
                    result: dict[str, Any] = answer["result"]
                    return result

    async def value(self, expression: str) -> Any:
        """What an expression of JavaScript comes to in the page."""
        answer = await self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Waits until an expression comes to something that is true, and returns it."""
        async with asyncio.timeout(_PATIENCE_S):
            while not (found := await self.value(expression)):  # noqa: ASYNC110 - the page tells nobody
                await asyncio.sleep(0.02)
        return found

    async def open(self, url: str) -> None:
        """Goes to an address and waits for all that it loads."""
        await self.send("Page.navigate", url=url)
        await self.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    async def go_offline(self) -> None:
        """Cuts the page off from every network, this machine's own included."""
        await self.send("Network.enable")
        limits = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        await self.send("Network.emulateNetworkConditions", offline=True, **limits)

    async def drop(self, selector: str, files: Sequence[Path]) -> None:
        """Drags files from outside onto an element and lets them go."""
        box = f"document.querySelector({json.dumps(selector)}).getBoundingClientRect()"
        x, y = await self.value(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
        data = {"items": [], "files": [str(path) for path in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            await self.send("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)


@asynccontextmanager
async def open_page(folder: Path) -> AsyncIterator[ChromiumPage]:
    """A browser of its own, whose profile lies in a folder."""
    assert PROGRAM is not None
    options = [
        "--headless=new",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--remote-debugging-port=0",
    ]
    # Its sandbox does not start as root, as which continuous integration runs; what is loaded here is ours.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *options,
        *sandbox,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(_PATIENCE_S):
            async with connect(await _page_url(process), max_size=None) as connection:
                yield ChromiumPage(connection)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def _page_url(process: asyncio.subprocess.Process) -> str:
    """Where the first page of a browser that has just been started listens."""
    assert process.stderr is not None
    while not (found := re.search(rb"ws://(127\.0\.0\.1:\d+)/", line := await process.stderr.readline())):
        assert line, "the browser ended"
    async with httpx.AsyncClient() as client:
        while True:
            targets = (await client.get(f"http://{found[1].decode()}/json/list")).json()
            pages = [each["webSocketDebuggerUrl"] for each in targets if each["type"] == "page"]
            if pages:
                return str(pages[0])
            await asyncio.sleep(0.02)
