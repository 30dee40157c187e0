"""A TCP connection to a server, pulled at will or in the middle of what is sent: for tests of what a cut does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, unquote, urlsplit


class Cable:
    """Joins whoever connects to it, on loopback, with the server of a URL: at a host and port or at a socket's path."""

    def __init__(self, url: str) -> None:
        self._far_url = url
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
        far_reader, far_writer = await _connected(self._far_url)
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


def near_url(far_url: str, port: int) -> str:
    """The URL of the same server at the near end of a cable."""
    parts = urlsplit(far_url)
    userinfo, at, _ = parts.netloc.rpartition("@")
    netloc = f"{userinfo}{at}127.0.0.1:{port}"
    if parts.scheme == "unix":
        number = parse_qs(parts.query).get("db", ["0"])[0]
        return parts._replace(scheme="redis", netloc=netloc, path=f"/{number}", query="").geturl()
    return parts._replace(netloc=netloc, query="" if _socket_of(far_url) else parts.query).geturl()


def _socket_of(url: str) -> str | None:
    """The path of the socket that a URL of Redis or PostgreSQL names."""
    parts, named = urlsplit(url), parse_qs(urlsplit(url).query)
    if parts.scheme == "unix":
        return unquote(parts.path)
    return f"{named['host'][0]}/.s.PGSQL.{named['port'][0]}" if "host" in named else None


async def _connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    path, parts = _socket_of(url), urlsplit(url)
    return await (asyncio.open_unix_connection(path) if path else asyncio.open_connection(parts.hostname, parts.port))


@asynccontextmanager
async def laid_cable(url: str) -> AsyncIterator[tuple[Cable, str]]:
    """A cable to a server, and the server's URL at the near end of it."""
    cable = Cable(url)
    async with cable.laid() as port:
        yield cable, near_url(url, port)
