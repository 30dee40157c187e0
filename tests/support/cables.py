"""A TCP connection to a broker, pulled at will or in the middle of what is sent: for tests of what a cut does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class Cable:
    """Joins whoever connects to it with a host and port, on loopback."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._writers: set[asyncio.StreamWriter] = set()
        self._plugged = True
        self._bytes_left: int | None = None

    @asynccontextmanager
    async def laid(self, port: int = 0) -> AsyncIterator[int]:
        """Its port, which is any that is free unless one is given."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", port)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            self.pull()
            server.close()

    def pull(self) -> None:
        self._plugged = False
        self._bytes_left = None
        for writer in self._writers:
            writer.transport.abort()

    def plug(self) -> None:
        self._plugged = True

    def tear_after(self, sent_bytes: int) -> None:
        """Breaks once, when so many bytes more have been sent to the far end; what connects again gets through."""
        self._bytes_left = sent_bytes

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._plugged:
            writer.transport.abort()
            return
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._writers |= {writer, far_writer}
        await asyncio.gather(self._send(reader, far_writer), _pump(far_reader, writer))
        self._writers -= {writer, far_writer}

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if self._bytes_left is not None and len(data) >= self._bytes_left:
                    # The far end gets its part, and then an end of the stream: an abort could take that part back.
                    writer.write(data[: self._bytes_left])
                    await writer.drain()
                    writer.write_eof()
                    self._bytes_left = None
                    return
                if self._bytes_left is not None:
                    self._bytes_left -= len(data)
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@asynccontextmanager
async def laid_cable(url: str) -> AsyncIterator[tuple[Cable, str]]:
    """A cable to a broker, and the broker's URL at the near end of it."""
    parts = urlsplit(url)
    cable = Cable(parts.hostname or "127.0.0.1", parts.port or 5672)
    async with cable.laid() as port:
        userinfo, at, _ = parts.netloc.rpartition("@")
        yield cable, parts._replace(netloc=f"{userinfo}{at}127.0.0.1:{port}").geturl()
