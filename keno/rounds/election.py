"""The election of leaders in Redis: a key a shard, which names the scheduler that leads it and dies with it.

Not here: what a vote is worth (`keno.rounds.lease`), and the lease in PostgreSQL that decides.
"""

from collections.abc import Sequence
from typing import Protocol

import structlog
from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import RedisError

from keno.rounds.lease import TTL_S, Vote

log = structlog.get_logger()

_TTL_MS = round(TTL_S * 1000)
# In braces: the keys of all shards are in one slot of a cluster, so that one script may touch them.
_KEY = "{{keno:lease}}:{}"

# Renews by compare-and-extend. A key that is gone (Redis was emptied, or its clock stepped) is set again: its owner
# still lives.
_RENEW = """
local ours = {}
for i, key in ipairs(KEYS) do
    local holder = redis.call('GET', key)
    if not holder then
        redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
    elseif holder == ARGV[1] then
        redis.call('PEXPIRE', key, ARGV[2])
    end
    ours[i] = (not holder or holder == ARGV[1]) and 1 or 0
end
return ours
"""

# Stands for the shards in their order until it has won as many as it wants.
_STAND = """
local won, wanted = {}, tonumber(ARGV[3])
for i, key in ipairs(KEYS) do
    won[i] = 0
    if wanted > 0 and redis.call('SET', key, ARGV[1], 'NX', 'PX', ARGV[2]) then
        won[i] = 1
        wanted = wanted - 1
    end
end
return won
"""

# Compare-and-delete.
_RELEASE = """
local released = {}
for i, key in ipairs(KEYS) do
    released[i] = redis.call('GET', key) == ARGV[1] and redis.call('DEL', key) or 0
end
return released
"""

_CLAIM = """
local claimed = {}
for i, key in ipairs(KEYS) do
    redis.call('SET', key, ARGV[1], 'PX', ARGV[2])
    claimed[i] = 1
end
return claimed
"""


class Election(Protocol):
    """Asks for votes. No method raises because a server can't be reached: then the votes are unknown."""

    async def renew(self, shards: Sequence[int], holder: str) -> list[Vote]:
        """The votes for shards that `holder` leads, for another TTL_S where they are ours."""
        ...

    async def stand(self, shards: Sequence[int], holder: str, wanted_max: int) -> list[Vote]:
        """Stands for shards in this order, for no more than `wanted_max`; those not asked for count as theirs."""
        ...

    async def claim(self, shards: Sequence[int], holder: str) -> None:
        """Overrules the votes for shards whose lease `holder` got without one."""
        ...

    async def release(self, shards: Sequence[int], holder: str) -> None:
        """Gives up the votes for `holder`."""
        ...


class RedisElection:
    """The election in a Redis whose client gives up well within RENEW_S."""

    def __init__(self, redis: Redis) -> None:
        self._renew, self._stand, self._claim, self._release = (
            redis.register_script(script) for script in (_RENEW, _STAND, _CLAIM, _RELEASE)
        )
        self._reachable = True

    async def renew(self, shards: Sequence[int], holder: str) -> list[Vote]:
        return await self._vote(self._renew, shards, holder)

    async def stand(self, shards: Sequence[int], holder: str, wanted_max: int) -> list[Vote]:
        return await self._vote(self._stand, shards, holder, wanted_max)

    async def claim(self, shards: Sequence[int], holder: str) -> None:
        await self._vote(self._claim, shards, holder)

    async def release(self, shards: Sequence[int], holder: str) -> None:
        await self._vote(self._release, shards, holder)

    async def _vote(self, script: AsyncScript, shards: Sequence[int], holder: str, *more: int) -> list[Vote]:
        """Runs a script that answers 1 or 0 for each shard."""
        if not shards:
            return []
        try:
            answers = await script(keys=[_KEY.format(shard) for shard in shards], args=[holder, _TTL_MS, *more])
        except (RedisError, OSError) as failure:
            # Whatever is wrong with Redis, rounds go on: PostgreSQL decides alone.
            if self._reachable:
                log.warning("election.unreachable", reason=str(failure))
            self._reachable = False
            return [Vote.UNKNOWN] * len(shards)
        if not self._reachable:
            log.info("election.reachable")
        self._reachable = True
        return [Vote.OURS if answer else Vote.THEIRS for answer in answers]
