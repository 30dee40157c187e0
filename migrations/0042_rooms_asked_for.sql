-- A tick that locked rounds looks for slots to open in their rooms, not in every room there is.
-- depends: 0041_expected_payouts

-- migrate: apply
DROP FUNCTION lock_due_rounds, open_due_rounds;

-- After this has committed no bet can join the rounds it locked: those longest due first, at most so many. Those without bets it seals as
-- well, unless they name a beacon, or the lock before them is not known yet. It returns for each its room, and how long after its time it was
-- locked, in milliseconds; nulls where the lease was lost and nothing was done.
CREATE FUNCTION lock_due_rounds(p_shard integer, p_lease_epoch bigint, p_rounds_max integer DEFAULT 1000, OUT late_ms bigint[], OUT room_ids uuid[])
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    no_bets CONSTANT bytea := sha256('');
    no_lock CONSTANT bytea := decode(repeat('00', 32), 'hex');
    at_ms bigint := now_ms();
    due bigint[];
BEGIN
    IF NOT lease_held(p_shard, p_lease_epoch) THEN
        RETURN;
    END IF;
    SELECT array_agg(d.id ORDER BY d.id) INTO due
    FROM (
        SELECT r.id
        FROM (
            SELECT r.id, r.room_id, r.lock_due_ms FROM rounds AS r
            WHERE r.ended_ms IS NULL AND r.lock_due_ms <= at_ms AND r.phase = 'open' OFFSET 0
        ) AS r
        CROSS JOIN LATERAL (SELECT FROM rooms AS room WHERE room.id = r.room_id AND room.shard = p_shard LIMIT 1) AS ours
        ORDER BY r.lock_due_ms LIMIT p_rounds_max
    ) AS d;
    late_ms := '{}';
    room_ids := '{}';
    IF due IS NULL THEN
        RETURN;
    END IF;
    -- Exclusive against the shared lock of place_bets(): waits for the bets in flight, keeps out those to come. What follows sees them all.
    PERFORM pg_advisory_xact_lock(d.id) FROM unnest(due) AS d (id);
    at_ms := now_ms();
    WITH locked AS (
        UPDATE rounds AS r SET phase = 'locked', locked_ms = at_ms, lease_epoch = p_lease_epoch,
            (bets_count, bets_root, beacon_round, prev_lock, lock_hash) = (
                SELECT 0, no_bets, 0, before.lock_hash,
                    empty_lock_hash(r.room_id, r.number, r.commit_hash, r.rules_hash, at_ms, before.lock_hash)
                -- Looked up by the round, whatever the planner thinks of the sizes of tables: OFFSET 0.
                FROM (
                    SELECT CASE WHEN b.phase IS NULL THEN no_lock ELSE b.lock_hash END AS lock_hash
                    FROM (SELECT) AS one LEFT JOIN LATERAL (
                        SELECT b.phase, b.lock_hash FROM rounds AS b
                        WHERE b.room_id = r.room_id AND b.number < r.number AND b.commit_hash IS NOT NULL ORDER BY b.number DESC LIMIT 1
                    ) AS b ON true
                    OFFSET 0
                ) AS before
                WHERE before.lock_hash IS NOT NULL
                    AND NOT EXISTS (SELECT FROM bets AS b WHERE b.round_id = r.id OFFSET 0)
                    AND NOT EXISTS (SELECT FROM rules_beacons AS t WHERE t.rules_hash = r.rules_hash OFFSET 0)
            )
        WHERE r.id = ANY (due) AND r.phase = 'open'
        RETURNING r.id, r.room_id, r.locked_ms - r.lock_due_ms AS late_ms, CASE WHEN r.lock_hash IS NOT NULL THEN
            locked_event(r.id, r.room_id, r.number, r.lock_hash, r.bets_root, r.bets_count, r.locked_ms) END AS event
    ), told AS (
        INSERT INTO outbox_batches (routing_key, events, events_count)
        SELECT 'round.locked', concat('[', string_agg(l.event, ',' ORDER BY l.id), ']'), count(l.event) FROM locked AS l HAVING count(l.event) > 0
    )
    SELECT coalesce(array_agg(l.late_ms), '{}'), coalesce(array_agg(l.room_id), '{}') INTO late_ms, room_ids FROM locked AS l;
END
$$;

-- Opens the slot on sale of every open room, or of those asked for, if its commitment has been published, and records each slot that nobody
-- opened as skipped.
-- After a long absence it records some of them at a time, so that it never holds up a lock for long: the rooms with the fewest first, and
-- each opens as soon as it is through. `late_ms` has an element for each round that was opened, how long after its sales should have
-- begun; null where the lease was lost and nothing was done.
CREATE FUNCTION open_due_rounds(
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
    ), opened AS (
        INSERT INTO rounds AS r (room_id, number, phase, rules_hash, epoch_id, commit_hash, opened_ms, lock_due_ms, draw_due_ms, lease_epoch)
        SELECT d.room_id, d.number, 'open', d.rules_hash, e.id, substring(e.commits FROM (32 * (d.number - e.first_round) + 1)::integer FOR 32), at_ms,
            d.slot_epoch_ms + d.number * d.period_ms - d.lock_lead_ms, d.slot_epoch_ms + d.number * d.period_ms, p_lease_epoch
        FROM due AS d
        CROSS JOIN LATERAL (
            SELECT e.id, e.first_round, e.rounds_count, e.commits FROM epochs AS e
            WHERE e.room_id = d.room_id AND e.first_round <= d.number ORDER BY e.first_round DESC LIMIT 1
        ) AS e
        WHERE d.skips = d.missed_count AND d.number < e.first_round + e.rounds_count
        RETURNING r.id, r.room_id, r.number, r.commit_hash, r.opened_ms, r.lock_due_ms, r.draw_due_ms
    ), announced AS (
        INSERT INTO outbox_batches (routing_key, events, events_count)
        SELECT 'round.opened', concat('[', string_agg(concat(round_event(o.id, o.room_id, o.number), ',"commit":"', encode(o.commit_hash, 'hex'),
            '","opened_ms":', o.opened_ms, ',"lock_due_ms":', o.lock_due_ms, ',"draw_due_ms":', o.draw_due_ms, '}]'), ',' ORDER BY o.id), ']'), count(*)
        FROM opened AS o HAVING count(*) > 0
    )
    SELECT coalesce(array_agg((at_ms - (o.lock_due_ms - room.period_ms))::integer), '{}'), (SELECT count(*) FROM skipped)
    INTO late_ms, skipped_count
    -- By the room's key: to look each round up in what was due took the square of their number.
    FROM opened AS o CROSS JOIN LATERAL (SELECT own.period_ms FROM rooms AS own WHERE own.id = o.room_id LIMIT 1) AS room;
END
$$;

-- migrate: rollback
