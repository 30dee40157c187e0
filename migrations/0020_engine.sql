-- Transitions whose cost follows what is due, and guards that cost what they must.
-- depends: 0019_room_changes

-- migrate: apply
-- Each phase has an index of its own, by what its rounds wait for. None names lock_hash: sealing is an update within the page.
CREATE INDEX rounds_on_sale ON rounds (room_id, number) WHERE phase = 'open';
CREATE INDEX rounds_to_lock ON rounds (lock_due_ms) WHERE phase = 'open';
CREATE INDEX rounds_to_draw ON rounds (draw_due_ms) WHERE phase = 'locked';
DROP INDEX rounds_under_way;
-- For the counters: these are few.
CREATE INDEX rounds_not_played ON rounds (room_id, phase) WHERE phase IN ('skipped', 'void');

-- The same rules as before, asked by an expression that reads the two rows; the function, which turns both into jsonb, only has the word
-- when the expression has found something. A test holds that it names every column.
DROP TRIGGER guard_round ON rounds;
CREATE TRIGGER guard_round BEFORE UPDATE ON rounds FOR EACH ROW WHEN ((
    OLD.phase NOT IN ('settled', 'skipped', 'void')
    AND (NEW.phase = OLD.phase OR phase_edge_allowed(OLD.phase, NEW.phase))
    AND NEW.lease_epoch >= OLD.lease_epoch
    AND NEW.id = OLD.id AND NEW.room_id = OLD.room_id AND NEW.number = OLD.number AND NEW.rules_hash = OLD.rules_hash
    AND NEW.opened_ms = OLD.opened_ms AND NEW.lock_due_ms = OLD.lock_due_ms AND NEW.draw_due_ms = OLD.draw_due_ms
    AND (OLD.epoch_id IS NULL OR NEW.epoch_id = OLD.epoch_id)
    AND (OLD.commit_hash IS NULL OR NEW.commit_hash = OLD.commit_hash)
    AND (OLD.locked_ms IS NULL OR NEW.locked_ms = OLD.locked_ms)
    AND (OLD.bets_count IS NULL OR NEW.bets_count = OLD.bets_count)
    AND (OLD.bets_root IS NULL OR NEW.bets_root = OLD.bets_root)
    AND (OLD.beacon_round IS NULL OR NEW.beacon_round = OLD.beacon_round)
    AND (OLD.prev_lock IS NULL OR NEW.prev_lock = OLD.prev_lock)
    AND (OLD.lock_hash IS NULL OR NEW.lock_hash = OLD.lock_hash)
    AND (OLD.drawn_ms IS NULL OR NEW.drawn_ms = OLD.drawn_ms)
    AND (OLD.seed IS NULL OR NEW.seed = OLD.seed)
    AND (OLD.beacon_sig IS NULL OR NEW.beacon_sig = OLD.beacon_sig)
    AND (OLD.numbers IS NULL OR NEW.numbers = OLD.numbers)
    AND (OLD.result IS NULL OR NEW.result = OLD.result)
    AND (OLD.ended_ms IS NULL OR NEW.ended_ms = OLD.ended_ms)
    AND (OLD.void_reason IS NULL OR NEW.void_reason = OLD.void_reason)
) IS NOT TRUE) EXECUTE FUNCTION guard_round();

-- Every round is made by open_due_rounds() from the rows of its room, rules and epoch, which nobody can delete: to look each up again, and
-- to lock it, was a quarter of the cost of opening. The audit asks instead.
ALTER TABLE rounds DROP CONSTRAINT rounds_room_id_fkey, DROP CONSTRAINT rounds_rules_hash_fkey, DROP CONSTRAINT rounds_epoch_id_fkey;

DROP FUNCTION open_due_rounds, lock_due_rounds;

-- The numbers of a draw as JSON. Spelt out, because a subquery a round costs more than all else of drawing it.
CREATE FUNCTION numbers_json(numbers bytea) RETURNS jsonb
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN jsonb_build_array(
        get_byte(numbers, 0), get_byte(numbers, 1), get_byte(numbers, 2), get_byte(numbers, 3), get_byte(numbers, 4),
        get_byte(numbers, 5), get_byte(numbers, 6), get_byte(numbers, 7), get_byte(numbers, 8), get_byte(numbers, 9),
        get_byte(numbers, 10), get_byte(numbers, 11), get_byte(numbers, 12), get_byte(numbers, 13), get_byte(numbers, 14),
        get_byte(numbers, 15), get_byte(numbers, 16), get_byte(numbers, 17), get_byte(numbers, 18), get_byte(numbers, 19)
    );

CREATE OR REPLACE FUNCTION draw_rounds(
    p_shard integer, p_lease_epoch bigint, round_ids bigint[], seeds bytea[], beacon_sigs bytea[], draws bytea[], results bytea[]
) RETURNS integer
    LANGUAGE plpgsql
    SET enable_seqscan = off
    AS $$
DECLARE
    at_ms CONSTANT bigint := now_ms();
    moved integer;
BEGIN
    IF NOT lease_held(p_shard, p_lease_epoch) THEN
        RETURN NULL;
    END IF;
    WITH drawn AS (
        UPDATE rounds AS r SET phase = 'drawn', drawn_ms = at_ms, seed = d.seed, beacon_sig = d.beacon_sig, numbers = d.numbers,
            result = d.result, lease_epoch = p_lease_epoch
        FROM unnest(round_ids, seeds, beacon_sigs, draws, results) AS d (id, seed, beacon_sig, numbers, result)
        WHERE r.id = d.id AND r.phase = 'locked' AND r.lock_hash IS NOT NULL
        RETURNING r.id, r.room_id, r.number, r.numbers
    ), told AS (
        INSERT INTO outbox (routing_key, aggregate, payload)
        SELECT 'round.drawn', 'room:' || d.room_id, jsonb_build_object('v', 1, 'round', d.id::text, 'room', d.room_id, 'number', d.number,
            'numbers', numbers_json(d.numbers))
        FROM drawn AS d
        RETURNING 1
    )
    SELECT count(*) INTO moved FROM told;
    RETURN moved;
END
$$;

CREATE OR REPLACE FUNCTION seal_rounds(
    p_shard integer, p_lease_epoch bigint, round_ids bigint[], counts integer[], roots bytea[], beacon_rounds bigint[], prev_locks bytea[],
    lock_hashes bytea[]
) RETURNS integer
    LANGUAGE plpgsql
    SET enable_seqscan = off
    AS $$
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
        RETURNING r.id, r.room_id, r.number, r.lock_hash, r.bets_root, r.bets_count, r.locked_ms
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

-- Opens the slot on sale of every open room, if its commitment has been published, and records each slot that nobody opened as skipped.
-- After a long absence it records some of them at a time, so that it never holds up a lock for long: the rooms with the fewest first, and
-- each opens as soon as it is through. `late_ms` has an element for each round that was opened, how long after its sales should have
-- begun; null where the lease was lost and nothing was done.
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
    SELECT coalesce(array_agg((at_ms - (o.lock_due_ms - d.period_ms))::integer), '{}'), (SELECT count(*) FROM skipped)
    INTO late_ms, skipped_count
    FROM opened AS o JOIN due AS d ON d.room_id = o.room_id;
END
$$;

-- After this has committed no bet can join the rounds it locked: those longest due first, at most so many.
CREATE FUNCTION lock_due_rounds(p_shard integer, p_lease_epoch bigint, p_rounds_max integer DEFAULT 1000) RETURNS integer
    LANGUAGE plpgsql
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    at_ms CONSTANT bigint := now_ms();
    due bigint[];
    moved integer;
BEGIN
    IF NOT lease_held(p_shard, p_lease_epoch) THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(d.id ORDER BY d.id) INTO due
    FROM (
        SELECT r.id
        FROM (SELECT r.id, r.room_id, r.lock_due_ms FROM rounds AS r WHERE r.phase = 'open' AND r.lock_due_ms <= at_ms OFFSET 0) AS r
        CROSS JOIN LATERAL (SELECT FROM rooms AS room WHERE room.id = r.room_id AND room.shard = p_shard LIMIT 1) AS ours
        ORDER BY r.lock_due_ms LIMIT p_rounds_max
    ) AS d;
    IF due IS NULL THEN
        RETURN 0;
    END IF;
    -- Exclusive against the shared lock of place_bets(): waits for the bets in flight, keeps out those to come.
    PERFORM pg_advisory_xact_lock(d.id) FROM unnest(due) AS d (id);
    UPDATE rounds SET phase = 'locked', locked_ms = now_ms(), lease_epoch = p_lease_epoch WHERE id = ANY (due) AND phase = 'open';
    GET DIAGNOSTICS moved = ROW_COUNT;
    RETURN moved;
END
$$;

-- In how many milliseconds the next round of the shard is due to be locked, and with it the next to be opened, and to be drawn; below 0
-- where one is overdue, null where there is none.
CREATE FUNCTION next_due(p_shard integer, OUT lock_in_ms bigint, OUT draw_in_ms bigint)
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_sort = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    at_ms CONSTANT bigint := now_ms();
BEGIN
    SELECT r.lock_due_ms - at_ms INTO lock_in_ms
    FROM (SELECT r.room_id, r.lock_due_ms FROM rounds AS r WHERE r.phase = 'open' ORDER BY r.lock_due_ms OFFSET 0) AS r
    CROSS JOIN LATERAL (SELECT FROM rooms AS room WHERE room.id = r.room_id AND room.shard = p_shard LIMIT 1) AS ours LIMIT 1;
    SELECT r.draw_due_ms - at_ms INTO draw_in_ms
    FROM (SELECT r.room_id, r.draw_due_ms FROM rounds AS r WHERE r.phase = 'locked' ORDER BY r.draw_due_ms OFFSET 0) AS r
    CROSS JOIN LATERAL (SELECT FROM rooms AS room WHERE room.id = r.room_id AND room.shard = p_shard LIMIT 1) AS ours LIMIT 1;
END
$$;

-- The bets of rounds as the leaves of their trees without the salts (keno/fairness/leaves.py), by ascending id: a row a round, of which
-- only so many bets are read. `bets_count` is how many those are.
CREATE FUNCTION unsalted_leaves(p_round_ids bigint[], p_after_bet_id bigint, p_bets_max integer)
    RETURNS TABLE (round_id bigint, bets_count bigint, last_bet_id bigint, leaves bytea)
    LANGUAGE plpgsql STABLE
    -- As in place_bets(): each row by its index, whatever the size of the tables when the plan was made.
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
BEGIN
    RETURN QUERY
    SELECT r.id, count(b.id), max(b.id), coalesce(string_agg(
        '\x0000000000000000'::bytea || int8send(b.id) || uuid_send(b.operator_id) || player.account_hash || b.picks
            || int8send(b.stake_minor) || substring(convert_to(t.currency, 'UTF8') || '\x0000000000000000'::bytea FOR 8) || t.paytable_hash,
        ''::bytea ORDER BY b.id), '')
    FROM unnest(p_round_ids) AS u (id)
    JOIN rounds AS r ON r.id = u.id
    LEFT JOIN LATERAL (
        SELECT bet.id, bet.operator_id, bet.account_id, bet.picks, bet.stake_minor, bet.terms FROM bets AS bet
        WHERE bet.round_id = r.id AND bet.id > p_after_bet_id ORDER BY bet.id LIMIT p_bets_max
    ) AS b ON true
    LEFT JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = b.terms
    LEFT JOIN accounts AS account ON account.id = b.account_id
    LEFT JOIN players AS player ON player.id = account.player_id
    GROUP BY r.id;
END
$$;

-- In what follows OFFSET 0 and LIMIT 1 keep the planner to one way: the few rounds in a phase by its index, then what belongs to each by
-- key. The plans are made while tables are small, and stay.

-- The locked rounds to be sealed, the first to be drawn first, each with the lock before it in its room: null where that round is unsealed
-- too, or none was.
CREATE FUNCTION rounds_to_seal(p_shard integer, p_rounds_max integer) RETURNS TABLE (
    round_id bigint, room_id uuid, number bigint, commit_hash bytea, rules_hash bytea, locked_ms bigint, late_ms bigint, prev_lock bytea
)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT r.id, r.room_id, r.number, r.commit_hash, r.rules_hash, r.locked_ms, r.locked_ms - r.lock_due_ms, before.lock_hash
    FROM (
        SELECT u.*
        FROM (SELECT u.* FROM rounds AS u WHERE u.phase = 'locked' AND u.lock_hash IS NULL OFFSET 0) AS u
        CROSS JOIN LATERAL (SELECT FROM rooms AS room WHERE room.id = u.room_id AND room.shard = p_shard LIMIT 1) AS ours
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
CREATE FUNCTION rounds_to_draw(p_shard integer, p_rounds_max integer)
    RETURNS TABLE (
        round_id bigint, room_id uuid, number bigint, commit_hash bytea, rules_hash bytea, bets_root bytea, bets_count integer, locked_ms bigint,
        beacon_round bigint, prev_lock bytea, lock_hash bytea, released_lock_hash bytea, profile text, seed bytea
    )
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    at_ms CONSTANT bigint := now_ms();
BEGIN
    RETURN QUERY
    SELECT r.id, r.room_id, r.number, r.commit_hash, r.rules_hash, r.bets_root, r.bets_count, r.locked_ms, r.beacon_round, r.prev_lock,
        r.lock_hash, released.lock_hash, ours.profile, released.seed
    FROM (SELECT r.* FROM rounds AS r WHERE r.phase = 'locked' AND r.lock_hash IS NOT NULL AND r.draw_due_ms <= at_ms OFFSET 0) AS r
    CROSS JOIN LATERAL (SELECT room.profile FROM rooms AS room WHERE room.id = r.room_id AND room.shard = p_shard LIMIT 1) AS ours
    CROSS JOIN LATERAL (SELECT s.seed, s.lock_hash FROM seed_releases AS s WHERE s.round_id = r.id LIMIT 1) AS released
    ORDER BY r.draw_due_ms LIMIT p_rounds_max;
END
$$;

-- The sealed rounds whose seed has not been released, the first to be drawn first. For the vault, who alone can read the keys.
CREATE FUNCTION rounds_to_release(p_rounds_max integer) RETURNS TABLE (
    id bigint, room_id uuid, number bigint, commit_hash bytea, rules_hash bytea, bets_root bytea, bets_count integer, locked_ms bigint,
    beacon_round bigint, prev_lock bytea, lock_hash bytea, epoch_id bigint, wrapped_key bytea
)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT r.id, r.room_id, r.number, r.commit_hash, r.rules_hash, r.bets_root, r.bets_count, r.locked_ms, r.beacon_round, r.prev_lock,
        r.lock_hash, r.epoch_id, held.wrapped_key
    FROM (SELECT r.* FROM rounds AS r WHERE r.phase = 'locked' AND r.lock_hash IS NOT NULL OFFSET 0) AS r
    LEFT JOIN LATERAL (SELECT s.round_id FROM seed_releases AS s WHERE s.round_id = r.id LIMIT 1) AS released ON true
    CROSS JOIN LATERAL (SELECT k.wrapped_key FROM rng_seeds AS k WHERE k.epoch_id = r.epoch_id LIMIT 1) AS held
    WHERE released.round_id IS NULL
    ORDER BY r.draw_due_ms LIMIT p_rounds_max;
END
$$;

-- migrate: rollback
