-- The hot statements look less up, and hand a lock on as the bytes that are hashed.
-- depends: 0042_rooms_asked_for

-- migrate: apply
-- What the lock of a round commits to, as it is hashed behind its tag (docs/fairness.md): 176 bytes.
CREATE FUNCTION lock_bytes(
    room_id uuid, number bigint, commit_hash bytea, rules_hash bytea, bets_root bytea, bets_count integer, locked_ms bigint, beacon_round bigint,
    prev_lock bytea
) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN uuid_send(room_id) || int8send(number) || commit_hash || rules_hash || bets_root || int8send(bets_count) || int8send(locked_ms)
        || int8send(beacon_round) || prev_lock;

DROP FUNCTION rounds_to_draw, rounds_awaiting_release;

-- The sealed rounds whose slot time has come and whose seed has been released, the longest due first.
CREATE FUNCTION rounds_to_draw(p_shard integer, p_rounds_max integer)
    RETURNS TABLE (round_id bigint, lock bytea, lock_hash bytea, released_lock_hash bytea, seed bytea)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    at_ms CONSTANT bigint := now_ms();
BEGIN
    RETURN QUERY
    SELECT r.id, lock_bytes(r.room_id, r.number, r.commit_hash, r.rules_hash, r.bets_root, r.bets_count, r.locked_ms, r.beacon_round, r.prev_lock),
        r.lock_hash, released.lock_hash, released.seed
    FROM (
        SELECT r.* FROM rounds AS r
        WHERE r.ended_ms IS NULL AND r.lock_due_ms <= at_ms AND r.draw_due_ms <= at_ms AND r.phase = 'locked' AND r.lock_hash IS NOT NULL OFFSET 0
    ) AS r
    CROSS JOIN LATERAL (SELECT FROM rooms AS room WHERE room.id = r.room_id AND room.shard = p_shard LIMIT 1) AS ours
    CROSS JOIN LATERAL (SELECT s.seed, s.lock_hash FROM seed_releases AS s WHERE s.round_id = r.id LIMIT 1) AS released
    ORDER BY r.draw_due_ms LIMIT p_rounds_max;
END
$$;

-- The sealed rounds whose seed has not been released, the first to be drawn first, and of those that wait for a beacon only the ones that
-- have it, or were given up: both are for the vault to judge, who alone can read the keys. When an epoch was opened matters only where
-- there are beacons; 0 elsewhere.
CREATE FUNCTION rounds_awaiting_release(p_rounds_max integer) RETURNS TABLE (
    id bigint, epoch_id bigint, lock bytea, lock_hash bytea, wrapped_key bytea, epoch_opened_ms bigint, beacon_sig bytea, is_missed boolean, at_ms bigint
)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    due_ms CONSTANT bigint := now_ms();
BEGIN
    RETURN QUERY
    SELECT r.id, r.epoch_id,
        lock_bytes(r.room_id, r.number, r.commit_hash, r.rules_hash, r.bets_root, r.bets_count, r.locked_ms, r.beacon_round, r.prev_lock),
        r.lock_hash, held.wrapped_key, coalesce(e.opened_ms, 0), kept.signature, missed.round_id IS NOT NULL, now_ms()
    FROM (
        SELECT r.* FROM rounds AS r WHERE r.ended_ms IS NULL AND r.lock_due_ms <= due_ms AND r.phase = 'locked' AND r.lock_hash IS NOT NULL OFFSET 0
    ) AS r
    LEFT JOIN LATERAL (SELECT s.round_id FROM seed_releases AS s WHERE s.round_id = r.id LIMIT 1) AS released ON true
    CROSS JOIN LATERAL (SELECT k.wrapped_key FROM rng_seeds AS k WHERE k.epoch_id = r.epoch_id LIMIT 1) AS held
    LEFT JOIN LATERAL (SELECT t.chain_hash FROM rules_beacons AS t WHERE t.rules_hash = r.rules_hash LIMIT 1) AS terms ON true
    LEFT JOIN LATERAL (SELECT e.opened_ms FROM epochs AS e WHERE e.id = r.epoch_id AND terms.chain_hash IS NOT NULL LIMIT 1) AS e ON true
    LEFT JOIN LATERAL (
        SELECT b.signature FROM beacons AS b WHERE b.chain_hash = terms.chain_hash AND b.round = r.beacon_round LIMIT 1
    ) AS kept ON true
    LEFT JOIN LATERAL (SELECT m.round_id FROM beacon_misses AS m WHERE m.round_id = r.id LIMIT 1) AS missed ON true
    WHERE released.round_id IS NULL AND (terms.chain_hash IS NULL OR kept.signature IS NOT NULL OR missed.round_id IS NOT NULL)
    ORDER BY r.draw_due_ms LIMIT p_rounds_max;
END
$$;

-- In how many milliseconds the next round of the shard is due to be locked, and with it the next to be opened, and to be drawn; below 0
-- where one is overdue, null where there is none.
CREATE OR REPLACE FUNCTION next_due(p_shard integer, OUT lock_in_ms bigint, OUT draw_in_ms bigint)
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    at_ms CONSTANT bigint := now_ms();
BEGIN
    SELECT r.lock_due_ms - at_ms INTO lock_in_ms
    FROM (SELECT r.room_id, r.lock_due_ms FROM rounds AS r WHERE r.ended_ms IS NULL AND r.phase = 'open' ORDER BY r.lock_due_ms OFFSET 0) AS r
    CROSS JOIN LATERAL (SELECT FROM rooms AS room WHERE room.id = r.room_id AND room.shard = p_shard LIMIT 1) AS ours LIMIT 1;
    SELECT r.draw_due_ms - at_ms INTO draw_in_ms
    FROM (
        SELECT r.room_id, r.draw_due_ms FROM rounds AS r
        WHERE r.ended_ms IS NULL AND r.lock_due_ms <= at_ms AND r.phase = 'locked' ORDER BY r.draw_due_ms OFFSET 0
    ) AS r
    CROSS JOIN LATERAL (SELECT FROM rooms AS room WHERE room.id = r.room_id AND room.shard = p_shard LIMIT 1) AS ours LIMIT 1;
END
$$;

CREATE OR REPLACE FUNCTION open_due_rounds(
    p_shard integer, p_lease_epoch bigint, p_room_ids uuid[] DEFAULT NULL, OUT late_ms integer[], OUT skipped_count integer
)
    LANGUAGE plpgsql
    -- What is due is looked up by room, however many rooms and rounds there were when the plan was made.
    SET enable_seqscan = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    skips_max CONSTANT bigint := 1000;
    at_ms bigint;
BEGIN
    IF NOT lease_held(p_shard, p_lease_epoch) THEN
        RETURN;
    END IF;
    -- Against close_room(): what follows sees the rooms as they are with the lock held.
    PERFORM pg_advisory_xact_lock_shared(7306, p_shard);
    at_ms := now_ms();
    PERFORM apply_room_changes(p_shard, p_lease_epoch, at_ms);
    WITH idle AS MATERIALIZED (
        SELECT room.id AS room_id, room.rules_hash, room.slot_epoch_ms, room.period_ms, room.lock_lead_ms, slot.number, last.number AS last_number
        FROM (
            SELECT every_room.* FROM rooms AS every_room WHERE p_room_ids IS NULL
            UNION ALL
            SELECT asked_for.*
            FROM (SELECT DISTINCT given.id FROM unnest(p_room_ids) AS given (id)) AS given
            CROSS JOIN LATERAL (SELECT one.* FROM rooms AS one WHERE one.id = given.id LIMIT 1) AS asked_for
        ) AS room
        -- The first slot whose lock is still to come.
        CROSS JOIN LATERAL (SELECT (at_ms + room.lock_lead_ms - room.slot_epoch_ms) / room.period_ms + 1) AS slot (number)
        -- One look at the end of an index a room, whatever the planner thinks of the size of `rounds`: the rounds that ended are not read.
        CROSS JOIN LATERAL (
            SELECT coalesce((SELECT max(r.number) FROM rounds AS r WHERE r.room_id = room.id), 0) AS number OFFSET 0
        ) AS last
        WHERE room.shard = p_shard AND room.status = 'open' AND at_ms + room.lock_lead_ms >= room.slot_epoch_ms AND slot.number > last.number
    ), due AS MATERIALIZED (
        SELECT i.*, missed.count AS missed_count,
            greatest(least(missed.count, skips_max - (sum(missed.count) OVER fewest_first - missed.count)), 0) AS skips
        FROM idle AS i
        CROSS JOIN LATERAL (SELECT i.number - i.last_number - 1 AS count) AS missed
        WINDOW fewest_first AS (ORDER BY missed.count, i.room_id)
    ), skipped AS (
        INSERT INTO rounds AS r (room_id, number, phase, rules_hash, opened_ms, lock_due_ms, draw_due_ms, ended_ms, lease_epoch)
        SELECT d.room_id, missed.number, 'skipped', d.rules_hash, at_ms, d.slot_epoch_ms + missed.number * d.period_ms - d.lock_lead_ms,
            d.slot_epoch_ms + missed.number * d.period_ms, at_ms, p_lease_epoch
        FROM due AS d CROSS JOIN LATERAL generate_series(d.last_number + 1, d.last_number + d.skips::bigint) AS missed (number)
        RETURNING r.room_id, r.number
    ), audited AS (
        INSERT INTO audit_logs (actor, action, subject, detail)
        SELECT 'scheduler', 'round.skipped', s.room_id::text,
            jsonb_build_object('first', min(s.number), 'last', max(s.number), 'lease_epoch', p_lease_epoch)
        FROM skipped AS s GROUP BY s.room_id ORDER BY s.room_id
    ), told AS (
        INSERT INTO outbox_batches (routing_key, events, events_count)
        SELECT 'round.skipped', concat('[', string_agg(
            concat('["room:', s.room_id, '",{"v":1,"room":"', s.room_id, '","number":', s.number, '}]'), ',' ORDER BY s.room_id, s.number), ']'), count(*)
        FROM skipped AS s HAVING count(*) > 0
    ), openable AS MATERIALIZED (
        SELECT d.room_id, d.number, d.rules_hash, e.id AS epoch_id,
            substring(e.commits FROM (32 * (d.number - e.first_round) + 1)::integer FOR 32) AS commit_hash,
            d.slot_epoch_ms + d.number * d.period_ms - d.lock_lead_ms AS lock_due_ms, d.slot_epoch_ms + d.number * d.period_ms AS draw_due_ms,
            d.period_ms
        FROM due AS d
        CROSS JOIN LATERAL (
            SELECT e.id, e.first_round, e.rounds_count, e.commits FROM epochs AS e
            WHERE e.room_id = d.room_id AND e.first_round <= d.number ORDER BY e.first_round DESC LIMIT 1
        ) AS e
        WHERE d.skips = d.missed_count AND d.number < e.first_round + e.rounds_count
    ), opened AS (
        INSERT INTO rounds AS r (room_id, number, phase, rules_hash, epoch_id, commit_hash, opened_ms, lock_due_ms, draw_due_ms, lease_epoch)
        SELECT o.room_id, o.number, 'open', o.rules_hash, o.epoch_id, o.commit_hash, at_ms, o.lock_due_ms, o.draw_due_ms, p_lease_epoch FROM openable AS o
        RETURNING r.id, r.room_id, r.number, r.commit_hash, r.opened_ms, r.lock_due_ms, r.draw_due_ms
    ), announced AS (
        INSERT INTO outbox_batches (routing_key, events, events_count)
        SELECT 'round.opened', concat('[', string_agg(concat(round_event(o.id, o.room_id, o.number), ',"commit":"', encode(o.commit_hash, 'hex'),
            '","opened_ms":', o.opened_ms, ',"lock_due_ms":', o.lock_due_ms, ',"draw_due_ms":', o.draw_due_ms, '}]'), ',' ORDER BY o.id), ']'), count(*)
        FROM opened AS o HAVING count(*) > 0
    )
    SELECT coalesce(array_agg((at_ms - (o.lock_due_ms - o.period_ms))::integer), '{}'), (SELECT count(*) FROM skipped)
    INTO late_ms, skipped_count
    FROM openable AS o;
END
$$;

-- migrate: rollback
