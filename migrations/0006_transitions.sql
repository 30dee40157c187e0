-- The transitions of rounds. Each is one statement for all due rounds of a shard and writes the event of what it did.
-- depends: 0005_acceptance

-- migrate: apply
-- True while the caller's lease is the latest, and holds off a successor until the caller's transaction has ended. FOR SHARE is what
-- makes it a fence: FOR KEY SHARE or a plain EXISTS would let the successor take over in between.
CREATE FUNCTION lease_held(p_shard integer, p_lease_epoch bigint) RETURNS boolean
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM leases WHERE shard = p_shard AND epoch = p_lease_epoch FOR SHARE;
    RETURN FOUND;
END
$$;

-- Every transition returns the number of rounds it moved, or null when the lease was lost and nothing was done.

-- Opens the slot on sale of every open room, if its commitment has been published, and records each slot that nobody opened as skipped.
-- After a long absence it records a part of them at a time, well within the statement timeout, and a room opens once it is through.
CREATE FUNCTION open_due_rounds(p_shard integer, p_lease_epoch bigint) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    skips_max CONSTANT bigint := 5000;
    at_ms bigint;
    moved integer;
BEGIN
    IF NOT lease_held(p_shard, p_lease_epoch) THEN
        RETURN NULL;
    END IF;
    at_ms := now_ms();
    WITH due AS MATERIALIZED (
        SELECT room.id AS room_id, room.rules_hash, room.slot_epoch_ms, room.period_ms, room.lock_lead_ms, slot.number AS number,
            last.number AS last_number,
            greatest(skips_max / greatest(count(*) FILTER (WHERE slot.number > last.number + 1) OVER (), 1), 1) AS room_skips_max
        FROM rooms AS room
        -- The first slot whose lock is still to come.
        CROSS JOIN LATERAL (SELECT (at_ms + room.lock_lead_ms - room.slot_epoch_ms) / room.period_ms + 1) AS slot (number)
        CROSS JOIN LATERAL (SELECT coalesce(max(r.number), 0) FROM rounds AS r WHERE r.room_id = room.id) AS last (number)
        WHERE room.shard = p_shard AND room.status = 'open' AND at_ms + room.lock_lead_ms >= room.slot_epoch_ms
    ), skipped AS (
        INSERT INTO rounds AS r (room_id, number, phase, rules_hash, opened_ms, lock_due_ms, draw_due_ms, ended_ms, lease_epoch)
        SELECT d.room_id, missed.number, 'skipped', d.rules_hash, at_ms, d.slot_epoch_ms + missed.number * d.period_ms - d.lock_lead_ms,
            d.slot_epoch_ms + missed.number * d.period_ms, at_ms, p_lease_epoch
        FROM due AS d CROSS JOIN LATERAL generate_series(d.last_number + 1, least(d.number - 1, d.last_number + d.room_skips_max)) AS missed (number)
        RETURNING r.room_id, r.number
    ), audited AS (
        INSERT INTO audit_logs (actor, action, subject, detail)
        SELECT 'scheduler', 'round.skipped', s.room_id::text,
            jsonb_build_object('first', min(s.number), 'last', max(s.number), 'lease_epoch', p_lease_epoch)
        FROM skipped AS s GROUP BY s.room_id
    ), told AS (
        INSERT INTO outbox (routing_key, aggregate, payload)
        SELECT 'round.skipped', 'room:' || s.room_id, jsonb_build_object('v', 1, 'room', s.room_id, 'number', s.number) FROM skipped AS s
        ORDER BY s.room_id, s.number
    ), opened AS (
        INSERT INTO rounds AS r (room_id, number, phase, rules_hash, epoch_id, commit_hash, opened_ms, lock_due_ms, draw_due_ms, lease_epoch)
        SELECT d.room_id, d.number, 'open', d.rules_hash, e.id, substring(e.commits FROM (32 * (d.number - e.first_round) + 1)::integer FOR 32), at_ms,
            d.slot_epoch_ms + d.number * d.period_ms - d.lock_lead_ms, d.slot_epoch_ms + d.number * d.period_ms, p_lease_epoch
        FROM due AS d
        JOIN epochs AS e ON e.room_id = d.room_id AND d.number >= e.first_round AND d.number < e.first_round + e.rounds_count
        WHERE d.number > d.last_number AND d.number <= d.last_number + d.room_skips_max + 1
        RETURNING r.id, r.room_id, r.number, r.commit_hash, r.opened_ms, r.lock_due_ms, r.draw_due_ms
    ), announced AS (
        INSERT INTO outbox (routing_key, aggregate, payload)
        SELECT 'round.opened', 'room:' || o.room_id, jsonb_build_object('v', 1, 'round', o.id::text, 'room', o.room_id, 'number', o.number,
            'commit', encode(o.commit_hash, 'hex'), 'opened_ms', o.opened_ms, 'lock_due_ms', o.lock_due_ms, 'draw_due_ms', o.draw_due_ms)
        FROM opened AS o
        RETURNING 1
    )
    SELECT count(*) INTO moved FROM announced;
    RETURN moved;
END
$$;

-- After this has committed no bet can join the rounds it locked.
CREATE FUNCTION lock_due_rounds(p_shard integer, p_lease_epoch bigint) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    due bigint[];
    moved integer;
BEGIN
    IF NOT lease_held(p_shard, p_lease_epoch) THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(r.id ORDER BY r.id) INTO due
    FROM rounds AS r JOIN rooms AS room ON room.id = r.room_id
    WHERE r.phase = 'open' AND r.lock_due_ms <= now_ms() AND room.shard = p_shard;
    -- Exclusive against the shared lock of place_bets(): waits for the bets in flight, keeps out those to come.
    PERFORM pg_advisory_xact_lock(d.id) FROM unnest(due) AS d (id);
    UPDATE rounds SET phase = 'locked', locked_ms = now_ms(), lease_epoch = p_lease_epoch WHERE id = ANY (due) AND phase = 'open';
    GET DIAGNOSTICS moved = ROW_COUNT;
    RETURN moved;
END
$$;

-- Fixes the commitment to the bets of locked rounds: from here on it can be published.
CREATE FUNCTION seal_rounds(
    p_shard integer, p_lease_epoch bigint, round_ids bigint[], counts integer[], roots bytea[], beacon_rounds bigint[], prev_locks bytea[],
    lock_hashes bytea[]
) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    moved integer;
BEGIN
    IF NOT lease_held(p_shard, p_lease_epoch) THEN
        RETURN NULL;
    END IF;
    WITH sealed AS (
        UPDATE rounds AS r SET bets_count = s.bets_count, bets_root = s.bets_root, beacon_round = s.beacon_round, prev_lock = s.prev_lock,
            lock_hash = s.lock_hash, lease_epoch = p_lease_epoch
        FROM unnest(round_ids, counts, roots, beacon_rounds, prev_locks, lock_hashes)
            AS s (id, bets_count, bets_root, beacon_round, prev_lock, lock_hash)
        WHERE r.id = s.id AND r.phase = 'locked' AND r.lock_hash IS NULL
        RETURNING r.*
    ), told AS (
        INSERT INTO outbox (routing_key, aggregate, payload)
        SELECT 'round.locked', 'room:' || s.room_id, jsonb_build_object('v', 1, 'round', s.id::text, 'room', s.room_id, 'number', s.number,
            'lock', encode(s.lock_hash, 'hex'), 'bets_root', encode(s.bets_root, 'hex'), 'bets_count', s.bets_count, 'lock_ms', s.locked_ms)
        FROM sealed AS s
        RETURNING 1
    )
    SELECT count(*) INTO moved FROM told;
    RETURN moved;
END
$$;

CREATE FUNCTION draw_rounds(
    p_shard integer, p_lease_epoch bigint, round_ids bigint[], seeds bytea[], beacon_sigs bytea[], draws bytea[], results bytea[]
) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    moved integer;
BEGIN
    IF NOT lease_held(p_shard, p_lease_epoch) THEN
        RETURN NULL;
    END IF;
    WITH drawn AS (
        UPDATE rounds AS r SET phase = 'drawn', drawn_ms = now_ms(), seed = d.seed, beacon_sig = d.beacon_sig, numbers = d.numbers,
            result = d.result, lease_epoch = p_lease_epoch
        FROM unnest(round_ids, seeds, beacon_sigs, draws, results) AS d (id, seed, beacon_sig, numbers, result)
        WHERE r.id = d.id AND r.phase = 'locked' AND r.lock_hash IS NOT NULL
        RETURNING r.*
    ), told AS (
        INSERT INTO outbox (routing_key, aggregate, payload)
        SELECT 'round.drawn', 'room:' || d.room_id, jsonb_build_object('v', 1, 'round', d.id::text, 'room', d.room_id, 'number', d.number,
            'numbers', (SELECT jsonb_agg(get_byte(d.numbers, i) ORDER BY i) FROM generate_series(0, 19) AS i))
        FROM drawn AS d
        RETURNING 1
    )
    SELECT count(*) INTO moved FROM told;
    RETURN moved;
END
$$;

-- migrate: rollback
