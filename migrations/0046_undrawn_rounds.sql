-- A room whose rounds are not drawn stops selling.
-- depends: 0045_order_of_locks

-- migrate: apply
-- The open rooms of a shard that have a round waiting for its draw for two minutes or more. Nobody knows when it will be drawn, or whether, so
-- no stake is taken for those behind it.
CREATE FUNCTION undrawn_rooms(p_shard integer, at_ms bigint) RETURNS uuid[]
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    due_ms CONSTANT bigint := at_ms - 120000;
BEGIN
    RETURN ARRAY(
        SELECT r.room_id
        FROM (
            SELECT DISTINCT u.room_id FROM rounds AS u
            WHERE u.ended_ms IS NULL AND u.shard = p_shard AND u.lock_due_ms <= due_ms AND u.draw_due_ms <= due_ms AND u.phase = 'locked'
                AND u.locked_ms <= due_ms OFFSET 0
        ) AS r
        CROSS JOIN LATERAL (SELECT FROM rooms AS room WHERE room.id = r.room_id AND room.status = 'open' LIMIT 1) AS room
    );
END
$$;

-- Opens the slots behind rounds that were just locked, where it is their turn. Which rounds come on sale is no other than by
-- open_due_rounds(), which a room is left to where anything is unusual: missed slots, a change that waits, no commitment yet, a round that is
-- not drawn. Of each round that it opened, how long after its time; null where the lease was lost.
CREATE OR REPLACE FUNCTION open_next_rounds(p_shard integer, p_lease_epoch bigint, p_round_ids bigint[], OUT late_ms integer[])
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_memoize = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    at_ms bigint;
    change_waits boolean;
    stopped uuid[];
BEGIN
    IF NOT lease_held(p_shard, p_lease_epoch) THEN
        RETURN;
    END IF;
    -- Against close_room(): what follows sees the rooms as they are with the lock held.
    PERFORM pg_advisory_xact_lock_shared(7306, p_shard);
    at_ms := now_ms();
    stopped := undrawn_rooms(p_shard, at_ms);
    change_waits := EXISTS (SELECT FROM room_changes AS c WHERE c.waiting);
    WITH openable AS MATERIALIZED (
        SELECT next.room_id, next.number, room.rules_hash, e.id AS epoch_id,
            substring(e.commits FROM (32 * (next.number - e.first_round) + 1)::integer FOR 32) AS commit_hash,
            slot.draw_due_ms - room.lock_lead_ms AS lock_due_ms, slot.draw_due_ms,
            (at_ms - (slot.draw_due_ms - room.lock_lead_ms - room.period_ms))::integer AS late_ms
        FROM unnest(p_round_ids) AS given (id)
        CROSS JOIN LATERAL (SELECT r.room_id, r.number + 1 AS number FROM rounds AS r WHERE r.id = given.id LIMIT 1) AS next
        CROSS JOIN LATERAL (SELECT one.* FROM rooms AS one WHERE one.id = next.room_id LIMIT 1) AS room
        CROSS JOIN LATERAL (SELECT room.slot_epoch_ms + next.number * room.period_ms AS draw_due_ms) AS slot
        CROSS JOIN LATERAL (
            SELECT e.id, e.first_round, e.rounds_count, e.commits FROM epochs AS e
            WHERE e.room_id = next.room_id AND e.first_round <= next.number ORDER BY e.first_round DESC LIMIT 1
        ) AS e
        WHERE room.shard = p_shard AND room.status = 'open' AND room.id <> ALL (stopped) AND next.number < e.first_round + e.rounds_count
            -- The first slot whose lock is still to come.
            AND (at_ms + room.lock_lead_ms - room.slot_epoch_ms) / room.period_ms + 1 = next.number
            AND NOT EXISTS (SELECT FROM rounds AS there WHERE there.room_id = next.room_id AND there.number = next.number OFFSET 0)
            AND NOT (change_waits AND EXISTS (SELECT FROM room_changes AS c WHERE c.room_id = next.room_id AND c.waiting OFFSET 0))
    ), opened AS (
        INSERT INTO rounds AS r (room_id, number, phase, rules_hash, epoch_id, commit_hash, opened_ms, lock_due_ms, draw_due_ms, lease_epoch, shard)
        SELECT o.room_id, o.number, 'open', o.rules_hash, o.epoch_id, o.commit_hash, at_ms, o.lock_due_ms, o.draw_due_ms, p_lease_epoch, p_shard
        FROM openable AS o
        RETURNING r.id, opened_event(r.id, r.room_id, r.number, r.commit_hash, r.opened_ms, r.lock_due_ms, r.draw_due_ms) AS event
    ), announced AS (
        INSERT INTO outbox_batches (routing_key, events, events_count)
        SELECT 'round.opened', concat('[', string_agg(o.event, ',' ORDER BY o.id), ']'), count(*) FROM opened AS o HAVING count(*) > 0
    )
    SELECT coalesce(array_agg(o.late_ms), '{}') INTO late_ms FROM openable AS o;
END
$$;

DROP FUNCTION open_due_rounds;

-- Opens the slots on sale in all rooms of the shard, and records missed ones as skipped, after a long absence some of them at a time, the rooms with
-- the fewest first. Of each round that it opened, how long after its time, how many slots were skipped, and how many rooms open none because a
-- round of theirs is not drawn; null where the lease was lost.
CREATE FUNCTION open_due_rounds(p_shard integer, p_lease_epoch bigint, OUT late_ms integer[], OUT skipped_count integer, OUT stopped_count integer)
    LANGUAGE plpgsql
    -- What is due is looked up by room, however many rooms and rounds there were when the plan was made.
    SET enable_seqscan = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    skips_max CONSTANT bigint := 1000;
    at_ms bigint;
    stopped uuid[];
BEGIN
    IF NOT lease_held(p_shard, p_lease_epoch) THEN
        RETURN;
    END IF;
    -- Against close_room(): what follows sees the rooms as they are with the lock held.
    PERFORM pg_advisory_xact_lock_shared(7306, p_shard);
    at_ms := now_ms();
    stopped := undrawn_rooms(p_shard, at_ms);
    stopped_count := cardinality(stopped);
    PERFORM apply_room_changes(p_shard, p_lease_epoch, at_ms);
    WITH idle AS MATERIALIZED (
        SELECT room.id AS room_id, room.rules_hash, room.slot_epoch_ms, room.period_ms, room.lock_lead_ms, slot.number, last.number AS last_number
        FROM rooms AS room
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
        INSERT INTO rounds AS r (room_id, number, phase, rules_hash, opened_ms, lock_due_ms, draw_due_ms, ended_ms, lease_epoch, shard)
        SELECT d.room_id, missed.number, 'skipped', d.rules_hash, at_ms, d.slot_epoch_ms + missed.number * d.period_ms - d.lock_lead_ms,
            d.slot_epoch_ms + missed.number * d.period_ms, at_ms, p_lease_epoch, p_shard
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
        WHERE d.skips = d.missed_count AND d.room_id <> ALL (stopped) AND d.number < e.first_round + e.rounds_count
    ), opened AS (
        INSERT INTO rounds AS r (room_id, number, phase, rules_hash, epoch_id, commit_hash, opened_ms, lock_due_ms, draw_due_ms, lease_epoch, shard)
        SELECT o.room_id, o.number, 'open', o.rules_hash, o.epoch_id, o.commit_hash, at_ms, o.lock_due_ms, o.draw_due_ms, p_lease_epoch, p_shard
        FROM openable AS o
        RETURNING r.id, opened_event(r.id, r.room_id, r.number, r.commit_hash, r.opened_ms, r.lock_due_ms, r.draw_due_ms) AS event
    ), announced AS (
        INSERT INTO outbox_batches (routing_key, events, events_count)
        SELECT 'round.opened', concat('[', string_agg(o.event, ',' ORDER BY o.id), ']'), count(*) FROM opened AS o HAVING count(*) > 0
    )
    SELECT coalesce(array_agg((at_ms - (o.lock_due_ms - o.period_ms))::integer), '{}'), (SELECT count(*) FROM skipped)
    INTO late_ms, skipped_count
    FROM openable AS o;
END
$$;

-- migrate: rollback
