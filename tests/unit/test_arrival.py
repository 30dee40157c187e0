"""Waiting for the first connection to PostgreSQL: what is asked again, how often, and what is not."""

import asyncio

import asyncpg
import pytest
from structlog.testing import capture_logs

from keno.errors import ConfigError
from keno.infra import arrival
from keno.infra.arrival import UnreachableError, reach_database


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "_PAUSE_MIN_S", 0.001)
    monkeypatch.setattr(arrival, "_PAUSE_MAX_S", 0.002)


class Attempts:
    """Fails as told, then connects."""

    def __init__(self, *failures: Exception) -> None:
        self.made = 0
        self._failures = failures

    async def __call__(self) -> str:
        self.made += 1
        if self.made <= len(self._failures):
            raise self._failures[self.made - 1]
        return "connected"


async def test_a_server_that_comes_up_late_is_waited_for_and_that_is_said_once() -> None:
    attempts = Attempts(ConnectionRefusedError(111), FileNotFoundError("no socket"), asyncpg.CannotConnectNowError())
    with capture_logs() as logged:
        assert await reach_database("KENO_DATABASE_URL", attempts, patience_s=60) == "connected"
    assert attempts.made == 4
    assert [entry["event"] for entry in logged] == ["database.awaited"]


async def test_without_patience_one_attempt_is_made() -> None:
    attempts = Attempts(ConnectionRefusedError("refused"))
    with pytest.raises(UnreachableError, match="KENO_DATABASE_URL cannot be reached: ConnectionRefusedError"):
        await reach_database("KENO_DATABASE_URL", attempts)
    assert attempts.made == 1


async def test_patience_ends() -> None:
    with pytest.raises(UnreachableError):
        await reach_database("KENO_DATABASE_URL", Attempts(*[OSError()] * 10_000), patience_s=0.05)


async def test_a_process_that_is_told_to_stop_waits_no_longer() -> None:
    stop, attempts = asyncio.Event(), Attempts(*[OSError()] * 10)
    stop.set()
    with pytest.raises(UnreachableError):
        await reach_database("KENO_DATABASE_URL", attempts, patience_s=60, stop=stop)
    assert attempts.made == 1


@pytest.mark.parametrize(
    "refusal",
    [
        asyncpg.InvalidPasswordError("password authentication failed"),
        asyncpg.InvalidAuthorizationSpecificationError("role does not exist"),
        asyncpg.InvalidCatalogNameError("database does not exist"),
        asyncpg.InsufficientPrivilegeError("permission denied"),
        ValueError("invalid DSN"),
    ],
)
async def test_what_a_server_refuses_is_an_error_of_the_configuration_at_once(refusal: Exception) -> None:
    attempts = Attempts(refusal)
    with pytest.raises(ConfigError, match=f"KENO_DATABASE_URL cannot be used: {refusal}"):
        await reach_database("KENO_DATABASE_URL", attempts, patience_s=60)
    assert attempts.made == 1


async def test_a_bug_is_not_waited_for() -> None:
    attempts = Attempts(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        await reach_database("KENO_DATABASE_URL", attempts, patience_s=60)
    assert attempts.made == 1
