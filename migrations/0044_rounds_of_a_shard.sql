-- A round knows the shard that moves it; the slot behind a locked round opens in one step.
-- depends: 0043_fewer_lookups

-- migrate: apply
ALTER TABLE rounds ADD COLUMN shard integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN rounds.shard IS 'that of its room: whose leader moves it to its end; 0 in rounds that had ended when the column came';
UPDATE rounds AS r SET shard = room.shard FROM rooms AS room WHERE room.id = r.room_id AND r.ended_ms IS NULL AND room.shard <> 0;
-- A round that is under way would be left behind.
CREATE FUNCTION keep_shard() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM rounds AS r WHERE r.room_id = OLD.id) THEN
        RAISE EXCEPTION 'room % keeps its shard: it has rounds', OLD.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER keep_shard BEFORE UPDATE OF shard ON rooms FOR EACH ROW WHEN (OLD.shard <> NEW.shard) EXECUTE FUNCTION keep_shard();
-- What is due in a shard is read by that shard alone.
DROP INDEX rounds_under_way;
CREATE INDEX rounds_under_way ON rounds (shard, lock_due_ms, draw_due_ms) WHERE ended_ms IS NULL;
DROP TRIGGER guard_round ON rounds;
CREATE TRIGGER guard_round BEFORE UPDATE ON rounds FOR EACH ROW WHEN ((
    OLD.phase NOT IN ('settled', 'skipped', 'void')
    AND (NEW.phase = OLD.phase OR phase_edge_allowed(OLD.phase, NEW.phase) OR ends_with_its_draw(OLD.phase, NEW.phase, OLD.bets_count))
    AND NEW.lease_epoch >= OLD.lease_epoch AND NEW.id = OLD.id AND NEW.room_id = OLD.room_id AND NEW.number = OLD.number
    AND NEW.rules_hash = OLD.rules_hash AND NEW.opened_ms = OLD.opened_ms AND NEW.lock_due_ms = OLD.lock_due_ms
    AND NEW.draw_due_ms = OLD.draw_due_ms AND NEW.shard = OLD.shard
    AND (OLD.epoch_id IS NULL OR NEW.epoch_id = OLD.epoch_id) AND (OLD.commit_hash IS NULL OR NEW.commit_hash = OLD.commit_hash)
    AND (OLD.locked_ms IS NULL OR NEW.locked_ms = OLD.locked_ms) AND (OLD.bets_count IS NULL OR NEW.bets_count = OLD.bets_count)
    AND (OLD.bets_root IS NULL OR NEW.bets_root = OLD.bets_root) AND (OLD.beacon_round IS NULL OR NEW.beacon_round = OLD.beacon_round)
    AND (OLD.prev_lock IS NULL OR NEW.prev_lock = OLD.prev_lock) AND (OLD.lock_hash IS NULL OR NEW.lock_hash = OLD.lock_hash)
    AND (OLD.drawn_ms IS NULL OR NEW.drawn_ms = OLD.drawn_ms) AND (OLD.seed IS NULL OR NEW.seed = OLD.seed)
    AND (OLD.beacon_sig IS NULL OR NEW.beacon_sig = OLD.beacon_sig) AND (OLD.numbers IS NULL OR NEW.numbers = OLD.numbers)
    AND (OLD.result IS NULL OR NEW.result = OLD.result) AND (OLD.ended_ms IS NULL OR NEW.ended_ms = OLD.ended_ms)
    AND (OLD.void_reason IS NULL OR NEW.void_reason = OLD.void_reason)
) IS NOT TRUE) EXECUTE FUNCTION guard_round();

-- Who serves all shards asks shard by shard: a round is opened by the leader of one, who has a lease.
GRANT SELECT ON leases TO keno_vault;

DROP FUNCTION lock_due_rounds, open_due_rounds, rounds_awaiting_release;

-- Ends the sales of rounds, at most so many and those that are due longest first, and seals those without bets: no bet joins once this has
-- committed. Of each round that it locked, how long after its time, and its id; null where the lease was lost.
CREATE FUNCTION lock_due_rounds(p_shard integer, p_lease_epoch bigint, p_rounds_max integer DEFAULT 1000, OUT late_ms bigint[], OUT round_ids bigint[])
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
        SELECT r.id FROM rounds AS r
        WHERE r.ended_ms IS NULL AND r.shard = p_shard AND r.lock_due_ms <= at_ms AND r.phase = 'open'
        ORDER BY r.lock_due_ms LIMIT p_rounds_max
    ) AS d;
    late_ms := '{}';
    round_ids := '{}';
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
        RETURNING r.id, r.locked_ms - r.lock_due_ms AS late_ms, CASE WHEN r.lock_hash IS NOT NULL THEN
            locked_event(r.id, r.room_id, r.number, r.lock_hash, r.bets_root, r.bets_count, r.locked_ms) END AS event
    ), told AS (
        INSERT INTO outbox_batches (routing_key, events, events_count)
        SELECT 'round.locked', concat('[', string_agg(l.event, ',' ORDER BY l.id), ']'), count(l.event) FROM locked AS l HAVING count(l.event) > 0
    )
    SELECT coalesce(array_agg(l.late_ms), '{}'), coalesce(array_agg(l.id), '{}') INTO late_ms, round_ids FROM locked AS l;
END
$$;

-- What is told of a round that came on sale.
CREATE FUNCTION opened_event(
    round_id bigint, room_id uuid, number bigint, commit_hash bytea, opened_ms bigint, lock_due_ms bigint, draw_due_ms bigint
) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN concat(round_event(round_id, room_id, number), ',"commit":"', encode(commit_hash, 'hex'), '","opened_ms":', opened_ms, ',"lock_due_ms":',
        lock_due_ms, ',"draw_due_ms":', draw_due_ms, '}]');

-- Opens the slots behind rounds that were just locked, where it is their turn. Which rounds come on sale is no other than by
-- open_due_rounds(), which a room is left to where anything is unusual: missed slots, a change that waits, no commitment yet. Of each round that
-- it opened, how long after its time; null where the lease was lost.
CREATE FUNCTION open_next_rounds(p_shard integer, p_lease_epoch bigint, p_round_ids bigint[], OUT late_ms integer[])
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_memoize = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    at_ms bigint;
    change_waits boolean;
BEGIN
    IF NOT lease_held(p_shard, p_lease_epoch) THEN
        RETURN;
    END IF;
    -- Against close_room(): what follows sees the rooms as they are with the lock held.
    PERFORM pg_advisory_xact_lock_shared(7306, p_shard);
    at_ms := now_ms();
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
        WHERE room.shard = p_shard AND room.status = 'open' AND next.number < e.first_round + e.rounds_count
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

-- Opens the slots on sale in all rooms of the shard, and records missed ones as skipped, after a long absence some of them at a time, the rooms with
-- the fewest first. Of each round that it opened, how long after its time, and how many slots were skipped; null where the lease was lost.
CREATE FUNCTION open_due_rounds(p_shard integer, p_lease_epoch bigint, OUT late_ms integer[], OUT skipped_count integer)
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
        WHERE d.skips = d.missed_count AND d.number < e.first_round + e.rounds_count
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
    FROM rounds AS r WHERE r.ended_ms IS NULL AND r.shard = p_shard AND r.phase = 'open' ORDER BY r.lock_due_ms LIMIT 1;
    SELECT min(r.draw_due_ms) - at_ms INTO draw_in_ms
    FROM rounds AS r WHERE r.ended_ms IS NULL AND r.shard = p_shard AND r.lock_due_ms <= at_ms AND r.phase = 'locked';
END
$$;

CREATE OR REPLACE FUNCTION rounds_to_seal(p_shard integer, p_rounds_max integer)
    RETURNS TABLE (round_id bigint, room_id uuid, number bigint, commit_hash bytea, rules_hash bytea, locked_ms bigint, prev_lock bytea)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    at_ms CONSTANT bigint := now_ms();
BEGIN
    RETURN QUERY
    SELECT r.id, r.room_id, r.number, r.commit_hash, r.rules_hash, r.locked_ms, before.lock_hash
    FROM (
        SELECT u.* FROM rounds AS u
        WHERE u.ended_ms IS NULL AND u.shard = p_shard AND u.lock_due_ms <= at_ms AND u.phase = 'locked' AND u.lock_hash IS NULL
        ORDER BY u.draw_due_ms, u.number LIMIT p_rounds_max
    ) AS r
    LEFT JOIN LATERAL (
        SELECT b.lock_hash FROM rounds AS b
        WHERE b.room_id = r.room_id AND b.number < r.number AND b.locked_ms IS NOT NULL ORDER BY b.number DESC LIMIT 1
    ) AS before ON true
    ORDER BY r.room_id, r.number;
END
$$;

-- The sealed rounds whose slot time has come and whose seed has been released, the longest due first.
CREATE OR REPLACE FUNCTION rounds_to_draw(p_shard integer, p_rounds_max integer)
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
        WHERE r.ended_ms IS NULL AND r.shard = p_shard AND r.lock_due_ms <= at_ms AND r.draw_due_ms <= at_ms AND r.phase = 'locked'
            AND r.lock_hash IS NOT NULL OFFSET 0
    ) AS r
    CROSS JOIN LATERAL (SELECT s.seed, s.lock_hash FROM seed_releases AS s WHERE s.round_id = r.id LIMIT 1) AS released
    ORDER BY r.draw_due_ms LIMIT p_rounds_max;
END
$$;

CREATE OR REPLACE FUNCTION rounds_to_void(p_shard integer, p_rounds_max integer) RETURNS TABLE (round_id bigint, seed bytea)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    at_ms CONSTANT bigint := now_ms();
BEGIN
    RETURN QUERY
    SELECT r.id, released.seed
    FROM (
        SELECT r.* FROM rounds AS r
        WHERE r.ended_ms IS NULL AND r.shard = p_shard AND r.lock_due_ms <= at_ms AND r.phase = 'locked' AND r.lock_hash IS NOT NULL
            AND r.beacon_round > 0 OFFSET 0
    ) AS r
    CROSS JOIN LATERAL (SELECT FROM beacon_misses AS m WHERE m.round_id = r.id LIMIT 1) AS missed
    CROSS JOIN LATERAL (SELECT s.seed FROM seed_releases AS s WHERE s.round_id = r.id AND s.lock_hash = r.lock_hash LIMIT 1) AS released
    ORDER BY r.draw_due_ms LIMIT p_rounds_max;
END
$$;

CREATE OR REPLACE FUNCTION give_up_beacons(p_shard integer, p_lease_epoch bigint, p_wait_ms bigint) RETURNS integer
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    at_ms CONSTANT bigint := now_ms();
    late bigint[];
    missed integer;
BEGIN
    SELECT array_agg(r.id) INTO late
    FROM (
        SELECT r.* FROM rounds AS r
        WHERE r.ended_ms IS NULL AND r.shard = p_shard AND r.lock_due_ms <= at_ms AND r.phase = 'locked' AND r.lock_hash IS NOT NULL
            AND r.beacon_round > 0 OFFSET 0
    ) AS r
    JOIN rules_beacons AS t ON t.rules_hash = r.rules_hash
    JOIN beacon_chains AS c ON c.hash = t.chain_hash
    WHERE greatest((c.genesis_s + (r.beacon_round - 1) * c.period_s) * 1000, r.locked_ms) + p_wait_ms <= at_ms
        AND NOT EXISTS (SELECT FROM beacons AS b WHERE b.chain_hash = t.chain_hash AND b.round = r.beacon_round)
        AND NOT EXISTS (SELECT FROM beacon_misses AS m WHERE m.round_id = r.id);
    IF late IS NULL THEN
        RETURN 0;
    END IF;
    IF NOT lease_held(p_shard, p_lease_epoch) THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(-7326);
    INSERT INTO beacon_misses (round_id)
    SELECT r.id FROM rounds AS r JOIN rules_beacons AS t ON t.rules_hash = r.rules_hash
    WHERE r.id = ANY (late) AND r.phase = 'locked'
        AND NOT EXISTS (SELECT FROM beacons AS b WHERE b.chain_hash = t.chain_hash AND b.round = r.beacon_round)
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS missed = ROW_COUNT;
    RETURN missed;
END
$$;

-- The sealed rounds whose seed has not been released, the first to be drawn first, and of those that wait for a beacon only the ones that
-- have it, or were given up: both are for the vault to judge, who alone can read the keys. When an epoch was opened matters only where
-- there are beacons; 0 elsewhere.
CREATE FUNCTION rounds_awaiting_release(p_rounds_max integer) RETURNS TABLE (
    id bigint, epoch_id bigint, lock bytea, lock_hash bytea, epoch_opened_ms bigint, beacon_sig bytea, is_missed boolean, at_ms bigint
)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_memoize = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    due_ms CONSTANT bigint := now_ms();
BEGIN
    RETURN QUERY
    SELECT r.id, r.epoch_id,
        lock_bytes(r.room_id, r.number, r.commit_hash, r.rules_hash, r.bets_root, r.bets_count, r.locked_ms, r.beacon_round, r.prev_lock),
        r.lock_hash, coalesce(e.opened_ms, 0), kept.signature, missed.round_id IS NOT NULL, now_ms()
    FROM leases AS led
    CROSS JOIN LATERAL (
        SELECT r.* FROM rounds AS r
        WHERE r.ended_ms IS NULL AND r.shard = led.shard AND r.lock_due_ms <= due_ms AND r.phase = 'locked' AND r.lock_hash IS NOT NULL OFFSET 0
    ) AS r
    LEFT JOIN LATERAL (SELECT s.round_id FROM seed_releases AS s WHERE s.round_id = r.id LIMIT 1) AS released ON true
    LEFT JOIN LATERAL (SELECT t.chain_hash FROM rules_beacons AS t WHERE t.rules_hash = r.rules_hash LIMIT 1) AS terms ON true
    LEFT JOIN LATERAL (SELECT e.opened_ms FROM epochs AS e WHERE e.id = r.epoch_id AND terms.chain_hash IS NOT NULL LIMIT 1) AS e ON true
    LEFT JOIN LATERAL (
        SELECT b.signature FROM beacons AS b WHERE b.chain_hash = terms.chain_hash AND b.round = r.beacon_round LIMIT 1
    ) AS kept ON true
    LEFT JOIN LATERAL (SELECT m.round_id FROM beacon_misses AS m WHERE m.round_id = r.id AND terms.chain_hash IS NOT NULL LIMIT 1) AS missed ON true
    WHERE released.round_id IS NULL AND (terms.chain_hash IS NULL OR kept.signature IS NOT NULL OR missed.round_id IS NOT NULL)
    ORDER BY r.draw_due_ms LIMIT p_rounds_max;
END
$$;

-- The locks, not refused yet, that rounds have although their seed was released for another.
CREATE OR REPLACE FUNCTION second_locks() RETURNS TABLE (round_id bigint, lock_hash bytea, first_lock_hash bytea)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    at_ms CONSTANT bigint := now_ms();
BEGIN
    RETURN QUERY
    SELECT r.id, r.lock_hash, released.lock_hash
    FROM leases AS led
    CROSS JOIN LATERAL (
        SELECT r.* FROM rounds AS r
        WHERE r.ended_ms IS NULL AND r.shard = led.shard AND r.lock_due_ms <= at_ms AND r.phase = 'locked' AND r.lock_hash IS NOT NULL OFFSET 0
    ) AS r
    CROSS JOIN LATERAL (SELECT s.lock_hash FROM seed_releases AS s WHERE s.round_id = r.id LIMIT 1) AS released
    WHERE released.lock_hash <> r.lock_hash
        AND NOT EXISTS (SELECT FROM refused_locks AS known WHERE known.round_id = r.id AND known.lock_hash = r.lock_hash);
END
$$;

CREATE OR REPLACE FUNCTION beacons_wanted() RETURNS TABLE (chain_hash bytea, beacon_round bigint, due_in_ms bigint)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    at_ms CONSTANT bigint := now_ms();
BEGIN
    RETURN QUERY
    SELECT DISTINCT t.chain_hash, r.beacon_round, (c.genesis_s + (r.beacon_round - 1) * c.period_s) * 1000 - at_ms AS due_in_ms
    FROM leases AS led
    CROSS JOIN LATERAL (
        SELECT r.* FROM rounds AS r
        WHERE r.ended_ms IS NULL AND r.shard = led.shard AND r.lock_due_ms <= at_ms AND r.phase = 'locked' AND r.lock_hash IS NOT NULL
            AND r.beacon_round > 0 OFFSET 0
    ) AS r
    JOIN rules_beacons AS t ON t.rules_hash = r.rules_hash
    JOIN beacon_chains AS c ON c.hash = t.chain_hash
    WHERE NOT EXISTS (SELECT FROM beacons AS b WHERE b.chain_hash = t.chain_hash AND b.round = r.beacon_round)
        AND NOT EXISTS (SELECT FROM beacon_misses AS m WHERE m.round_id = r.id)
    ORDER BY due_in_ms;
END
$$;

CREATE OR REPLACE FUNCTION hold_small_rounds(p_rounds_max integer, p_bets_max bigint)
    RETURNS TABLE (round_id bigint, rules_hash bytea, numbers bytea, bets_count integer)
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    at_ms CONSTANT bigint := now_ms();
    -- Nowhere by the key itself, which the planner would walk from the first round on, be it to compare it with other tables' in its order.
    -- A row is locked when it is fetched, one at a time: what is beyond the bounds stays free for other settlers.
    due CURSOR FOR
        SELECT r.id, r.rules_hash, r.numbers, r.bets_count FROM leases AS led JOIN rounds AS r ON r.shard = led.shard
        WHERE r.ended_ms IS NULL AND r.lock_due_ms <= at_ms AND r.draw_due_ms <= at_ms AND r.phase = 'drawn' AND r.bets_count <= p_bets_max
            AND NOT EXISTS (SELECT FROM settlement_chunks AS c WHERE c.round_id = r.id + 0)
            AND NOT EXISTS (SELECT FROM rounds_set_aside AS a WHERE a.round_id = r.id + 0 AND a.retry_ms > at_ms)
        ORDER BY r.id + 0 FOR NO KEY UPDATE OF r SKIP LOCKED;
    bets_held bigint := 0;
BEGIN
    OPEN due;
    FOR i IN 1..p_rounds_max LOOP
        FETCH due INTO round_id, rules_hash, numbers, bets_count;
        bets_held := bets_held + bets_count;
        EXIT WHEN NOT FOUND OR bets_held > p_bets_max;
        RETURN NEXT;
    END LOOP;
    CLOSE due;
END
$$;

-- migrate: rollback
