-- Rounds are opened in a time that grows with their number and no longer with its square.
-- depends: 0024_lookups_planned_anew

-- migrate: apply
-- Opens the slot on sale of every open room, if its commitment has been published, and records each slot that nobody opened as skipped.
-- After a long absence it records some of them at a time, so that it never holds up a lock for long: the rooms with the fewest first, and
-- each opens as soon as it is through. `late_ms` has an element for each round that was opened, how long after its sales should have
-- begun; null where the lease was lost and nothing was done.
CREATE OR REPLACE FUNCTION open_due_rounds(p_shard integer, p_lease_epoch bigint, OUT late_ms integer[], OUT skipped_count integer)
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
        SELECT room.id AS room_id, room.rules_hash, room.slot_epoch_ms, room.period_ms, room.lock_lead_ms, slot.number
        FROM rooms AS room
        -- The first slot whose lock is still to come.
        CROSS JOIN LATERAL (SELECT (at_ms + room.lock_lead_ms - room.slot_epoch_ms) / room.period_ms + 1) AS slot (number)
        LEFT JOIN rounds AS sale ON sale.room_id = room.id AND sale.number = slot.number AND sale.phase = 'open'
        WHERE room.shard = p_shard AND room.status = 'open' AND at_ms + room.lock_lead_ms >= room.slot_epoch_ms AND sale.id IS NULL
    ), due AS MATERIALIZED (
        SELECT i.*, last.number AS last_number, missed.count AS missed_count,
            greatest(least(missed.count, skips_max - (sum(missed.count) OVER fewest_first - missed.count)), 0) AS skips
        FROM idle AS i
        CROSS JOIN LATERAL (SELECT coalesce(max(r.number), 0) AS number FROM rounds AS r WHERE r.room_id = i.room_id) AS last
        CROSS JOIN LATERAL (SELECT i.number - last.number - 1 AS count) AS missed
        WHERE i.number > last.number
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
        INSERT INTO outbox (routing_key, aggregate, payload)
        SELECT 'round.skipped', 'room:' || s.room_id, jsonb_build_object('v', 1, 'room', s.room_id, 'number', s.number) FROM skipped AS s
        ORDER BY s.room_id, s.number
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
        INSERT INTO outbox (routing_key, aggregate, payload)
        SELECT 'round.opened', 'room:' || o.room_id, jsonb_build_object('v', 1, 'round', o.id::text, 'room', o.room_id, 'number', o.number,
            'commit', encode(o.commit_hash, 'hex'), 'opened_ms', o.opened_ms, 'lock_due_ms', o.lock_due_ms, 'draw_due_ms', o.draw_due_ms)
        FROM opened AS o
    )
    SELECT coalesce(array_agg((at_ms - (o.lock_due_ms - room.period_ms))::integer), '{}'), (SELECT count(*) FROM skipped)
    INTO late_ms, skipped_count
    -- By the room's key: to look each round up in what was due took the square of their number.
    FROM opened AS o CROSS JOIN LATERAL (SELECT own.period_ms FROM rooms AS own WHERE own.id = o.room_id LIMIT 1) AS room;
END
$$;

-- migrate: rollback
