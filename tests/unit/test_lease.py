"""Who counts where the shards are shared, and what that leaves to each."""

import random

import pytest

from keno.rounds.lease import RENEW_S, TTL_S, Sharer, counts, fair_share

PLACES = 3
"""In each of which a scheduler is started whenever the one before it has died."""
SECONDS = 120.0
JUST = 0.001


@pytest.mark.parametrize(
    ("silent_s", "age_s", "counted"),
    [
        (0.0, TTL_S, True),
        (0.0, TTL_S - JUST, False),
        (TTL_S - JUST, 3600.0, True),
        (TTL_S, 3600.0, False),
        # The clock of the database was set back by an hour: one from before that, then one that died before it.
        (0.0, -3600.0, True),
        (-3600.0, -3600.0, False),
    ],
)
def test_who_lives_and_is_no_newcomer_counts(silent_s: float, age_s: float, counted: bool) -> None:
    assert counts(Sharer(silent_s, age_s)) is counted


@pytest.mark.parametrize(("sharers", "share"), [(0, 16), (1, 16), (2, 8), (3, 6), (16, 1), (17, 1)])
def test_those_who_count_lead_all_together_and_where_nobody_counts_each_may_lead_all(sharers: int, share: int) -> None:
    newcomers = [Sharer(0.0, 0.1)] * 5
    assert fair_share(16, [Sharer(0.1, 60.0)] * sharers + newcomers) == share


def lives(taste: random.Random) -> list[tuple[float, float]]:
    """When each scheduler of one place gave its first and its last sign of life; most die young."""
    found, now_s = [], 0.0
    while now_s < SECONDS:
        beats = taste.choice([0, 0, 1, 2, 3, 4, 20])
        found.append((now_s, now_s + beats * RENEW_S))
        now_s += beats * RENEW_S + taste.choice([0.0, taste.uniform(0, RENEW_S), taste.uniform(0, 5)])
    return found


@pytest.mark.parametrize("seed", range(20))
def test_however_often_schedulers_die_those_of_one_place_count_as_one(seed: int) -> None:
    taste = random.Random(seed)
    places = [lives(taste) for _ in range(PLACES)]
    for now_s in (taste.uniform(0, SECONDS) for _ in range(500)):
        rows = [
            [
                Sharer(max(now_s - last_s, (now_s - since_s) % RENEW_S), now_s - since_s)
                for since_s, last_s in place
                if since_s <= now_s
            ]
            for place in places
        ]
        assert all(sum(map(counts, place)) <= 1 for place in rows)
        assert PLACES * fair_share(16, [each for place in rows for each in place]) >= 16
