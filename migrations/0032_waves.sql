-- Waves of rounds: phases change within a page, an empty round ends with its draw, events lie in batches.
-- depends: 0031_exposures_forgotten

-- migrate: apply
-- No index names a column that changes between the opening of a round and its end: such an update writes no index and leaves its old version
-- to be cleared by whoever comes to the page next. What is under way is found by when it was due, and its phase is read from the row.
DROP INDEX rounds_on_sale, rounds_to_lock, rounds_to_draw, rounds_drawn, rounds_ended, rounds_not_played;
CREATE INDEX rounds_under_way ON rounds (lock_due_ms, draw_due_ms) WHERE ended_ms IS NULL;
CREATE INDEX rounds_under_way_of_room ON rounds (room_id, number) WHERE ended_ms IS NULL;
CREATE INDEX rounds_ended ON rounds (ended_ms) WHERE ended_ms IS NOT NULL;
-- For the counters: these are few.
CREATE INDEX rounds_not_played ON rounds (room_id) WHERE commit_hash IS NULL OR void_reason IS NOT NULL;
-- A round grows from 0.2 KB to 0.5, and a page has to hold an old version beside each.
ALTER TABLE rounds SET (fillfactor = 30);

-- The events of one routing key that a statement wrote. `events` is a JSON array of [aggregate, data]; an event's place in it counts from 0.
CREATE TABLE outbox_batches (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    first_event_id uuid NOT NULL DEFAULT gen_random_uuid(),
    routing_key text NOT NULL,
    events text NOT NULL,
    events_count integer NOT NULL CHECK (events_count > 0),
    created_ms bigint NOT NULL DEFAULT now_ms(),
    sent_ms bigint
) WITH (fillfactor = 80);
-- Compressing costs more time than what it saves in the log.
ALTER TABLE outbox_batches ALTER COLUMN events SET STORAGE EXTERNAL;
CREATE INDEX outbox_unsent_batches ON outbox_batches (id) WHERE sent_ms IS NULL;
COMMENT ON COLUMN outbox_batches.first_event_id IS 'of the event in place 0; that of the others follows from it and their place: event_id_at()';

-- Mirrors keno.infra.store.event_id_at: the last four bytes count on from the first event's, and begin again at 0.
CREATE FUNCTION event_id_at(first_event_id uuid, place bigint) RETURNS uuid
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (left(first_event_id::text, 28)
        || lpad(to_hex((('x' || right(first_event_id::text, 8))::bit(32)::bigint + place) & 4294967295), 8, '0'))::uuid;

INSERT INTO outbox_batches (id, first_event_id, routing_key, events, events_count, created_ms, sent_ms) OVERRIDING SYSTEM VALUE
SELECT id, event_id, routing_key, jsonb_build_array(jsonb_build_array(aggregate, payload))::text, 1, created_ms, sent_ms FROM outbox;
-- From the sequence, not the rows: what was sent may have been forgotten, and the audit goes on behind the last id it saw.
SELECT setval(pg_get_serial_sequence('outbox_batches', 'id'), last_value, is_called) FROM outbox_id_seq;
DROP TABLE outbox;
DROP FUNCTION guard_outbox;

CREATE FUNCTION guard_outbox() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'batch % of the outbox is immutable: it can only be marked as sent, once', OLD.id
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER guard_outbox BEFORE UPDATE ON outbox_batches FOR EACH ROW WHEN ((
    OLD.sent_ms IS NULL AND NEW.id = OLD.id AND NEW.first_event_id = OLD.first_event_id AND NEW.routing_key = OLD.routing_key
    AND NEW.events = OLD.events AND NEW.events_count = OLD.events_count AND NEW.created_ms = OLD.created_ms
) IS NOT TRUE) EXECUTE FUNCTION guard_outbox();

-- Event by event, for whoever asks what was told. The id is the batch's.
CREATE VIEW outbox AS
    SELECT b.id, event_id_at(b.first_event_id, event.ord - 1) AS event_id, b.routing_key, event.pair ->> 0 AS aggregate,
        event.pair -> 1 AS payload, b.created_ms, b.sent_ms
    FROM outbox_batches AS b CROSS JOIN LATERAL jsonb_array_elements(b.events::jsonb) WITH ORDINALITY AS event (pair, ord);

-- A rare event is written by itself, as a batch of one.
CREATE FUNCTION tell_one() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox_batches AS b (first_event_id, routing_key, events, events_count, created_ms, sent_ms)
    VALUES (coalesce(NEW.event_id, gen_random_uuid()), NEW.routing_key, jsonb_build_array(jsonb_build_array(NEW.aggregate, NEW.payload))::text, 1,
        coalesce(NEW.created_ms, now_ms()), NEW.sent_ms)
    RETURNING b.id, b.first_event_id, b.created_ms INTO NEW.id, NEW.event_id, NEW.created_ms;
    RETURN NEW;
END
$$;
CREATE TRIGGER tell_one INSTEAD OF INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION tell_one();

GRANT SELECT, INSERT ON outbox_batches, outbox TO keno_app;
GRANT UPDATE (sent_ms) ON outbox_batches TO keno_app;

-- Deletes some of the oldest batches, of so many events and at least one, if they were sent and are older than the retention; returns the
-- number of their events. The only way for the services to delete any: whatever they ask for, an hour of events stays, and what was not sent.
CREATE OR REPLACE FUNCTION forget_sent_events(p_retention_ms bigint, p_events_max integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    -- From the low end of the primary key, whatever the planner knows of a table that grows and shrinks all the time.
    SET enable_seqscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
DECLARE
    retention_min_ms CONSTANT bigint := 3600000;
    horizon_ms bigint := now_ms() - greatest(p_retention_ms, retention_min_ms);
    forgotten integer;
BEGIN
    -- The limit stands inside of the age: a table without old rows is not read to its end.
    WITH oldest AS MATERIALIZED (
        SELECT b.id, b.created_ms, b.events_count, sum(b.events_count) OVER (ORDER BY b.id) - b.events_count AS before
        FROM (SELECT o.id, o.created_ms, o.events_count FROM outbox_batches AS o WHERE o.sent_ms IS NOT NULL ORDER BY o.id LIMIT p_events_max) AS b
    ), gone AS (
        DELETE FROM outbox_batches AS o USING oldest
        WHERE o.id = oldest.id AND oldest.before < p_events_max AND oldest.created_ms < horizon_ms
        RETURNING o.events_count
    )
    SELECT coalesce(sum(g.events_count), 0) INTO forgotten FROM gone AS g;
    IF forgotten > 0 THEN
        UPDATE outbox_horizon SET kept_since_ms = horizon_ms WHERE kept_since_ms < horizon_ms;
    END IF;
    RETURN forgotten;
END
$$;

-- The beginning of a round's event in a batch, to be followed by further members and '}]'. Text, because to build each event as jsonb first
-- takes three times as long; nothing in these events needs to be escaped.
CREATE FUNCTION round_event(round_id bigint, room_id uuid, number bigint) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN concat('["room:', room_id, '",{"v":1,"round":"', round_id, '","room":"', room_id, '","number":', number);
DROP FUNCTION numbers_json;
CREATE FUNCTION numbers_json(numbers bytea) RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN concat('[', concat_ws(',',
        get_byte(numbers, 0), get_byte(numbers, 1), get_byte(numbers, 2), get_byte(numbers, 3), get_byte(numbers, 4),
        get_byte(numbers, 5), get_byte(numbers, 6), get_byte(numbers, 7), get_byte(numbers, 8), get_byte(numbers, 9),
        get_byte(numbers, 10), get_byte(numbers, 11), get_byte(numbers, 12), get_byte(numbers, 13), get_byte(numbers, 14),
        get_byte(numbers, 15), get_byte(numbers, 16), get_byte(numbers, 17), get_byte(numbers, 18), get_byte(numbers, 19)
    ), ']');

-- A round without bets pays nobody: it is drawn and settled in one update, by the scheduler under its lease. The edges of the other rounds,
-- and all that was written of a round, are guarded as before.
CREATE FUNCTION ends_with_its_draw(was text, is_now text, bets_count integer) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN was = 'locked' AND is_now = 'settled' AND bets_count = 0;

CREATE OR REPLACE FUNCTION guard_round() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    was jsonb := jsonb_strip_nulls(to_jsonb(OLD) - ARRAY['phase', 'lease_epoch']);
BEGIN
    IF OLD.phase IN ('settled', 'skipped', 'void') THEN
        RAISE EXCEPTION 'round % is %: it is immutable', OLD.id, OLD.phase USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.phase <> OLD.phase AND NOT phase_edge_allowed(OLD.phase, NEW.phase)
        AND NOT coalesce(ends_with_its_draw(OLD.phase, NEW.phase, OLD.bets_count), false) THEN
        RAISE EXCEPTION 'round %: no way from % to %', OLD.id, OLD.phase, NEW.phase USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.lease_epoch < OLD.lease_epoch THEN
        RAISE EXCEPTION 'round %: lease epoch % is older than %', OLD.id, NEW.lease_epoch, OLD.lease_epoch
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    -- Every value is written once: what was there must be there still.
    IF NOT to_jsonb(NEW) @> was THEN
        RAISE EXCEPTION 'round %: a value that was written is immutable', OLD.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;

DROP TRIGGER guard_round ON rounds;
CREATE TRIGGER guard_round BEFORE UPDATE ON rounds FOR EACH ROW WHEN ((
    OLD.phase NOT IN ('settled', 'skipped', 'void')
    AND (NEW.phase = OLD.phase OR phase_edge_allowed(OLD.phase, NEW.phase) OR ends_with_its_draw(OLD.phase, NEW.phase, OLD.bets_count))
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

-- In what follows a round that is due is one under way whose sales are over. OFFSET 0 and LIMIT 1 keep the planner to one way: those by
-- their index, then what belongs to each by key. The plans are made while tables are small, and stay. A bitmap of the index would come upon
-- what has ended again each time; a scan marks it as dead.

-- The round of each offer: the one it names, or the one on sale in the room it names; null where there is none.
CREATE OR REPLACE FUNCTION rounds_meant(room_ids uuid[], round_ids bigint[], at_ms bigint) RETURNS bigint[]
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN array_agg(
        CASE WHEN a.round_id IS NOT NULL THEN (SELECT r.id FROM rounds AS r WHERE r.id = a.round_id)
        ELSE (
            SELECT r.id FROM rounds AS r
            WHERE r.room_id = a.room_id AND r.ended_ms IS NULL AND r.phase = 'open' AND r.lock_due_ms > at_ms ORDER BY r.number LIMIT 1
        ) END ORDER BY a.ord)
    FROM unnest(room_ids, round_ids) WITH ORDINALITY AS a (room_id, round_id, ord);
END
$$;

-- After this has committed no bet can join the rounds it locked: those longest due first, at most so many.
CREATE OR REPLACE FUNCTION lock_due_rounds(p_shard integer, p_lease_epoch bigint, p_rounds_max integer DEFAULT 1000) RETURNS integer
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan
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
        FROM (
            SELECT r.id, r.room_id, r.lock_due_ms FROM rounds AS r
            WHERE r.ended_ms IS NULL AND r.lock_due_ms <= at_ms AND r.phase = 'open' OFFSET 0
        ) AS r
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
    SELECT min(r.draw_due_ms) - at_ms INTO draw_in_ms
    FROM (
        SELECT r.room_id, r.draw_due_ms FROM rounds AS r WHERE r.ended_ms IS NULL AND r.lock_due_ms <= at_ms AND r.phase = 'locked' OFFSET 0
    ) AS r
    CROSS JOIN LATERAL (SELECT FROM rooms AS room WHERE room.id = r.room_id AND room.shard = p_shard LIMIT 1) AS ours;
END
$$;

-- The locked rounds to be sealed, the first to be drawn first, each with the lock before it in its room: null where that round is unsealed
-- too, or none was.
CREATE OR REPLACE FUNCTION rounds_to_seal(p_shard integer, p_rounds_max integer) RETURNS TABLE (
    round_id bigint, room_id uuid, number bigint, commit_hash bytea, rules_hash bytea, locked_ms bigint, late_ms bigint, prev_lock bytea
)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    at_ms CONSTANT bigint := now_ms();
BEGIN
    RETURN QUERY
    SELECT r.id, r.room_id, r.number, r.commit_hash, r.rules_hash, r.locked_ms, r.locked_ms - r.lock_due_ms, before.lock_hash
    FROM (
        SELECT u.*
        FROM (
            SELECT u.* FROM rounds AS u
            WHERE u.ended_ms IS NULL AND u.lock_due_ms <= at_ms AND u.phase = 'locked' AND u.lock_hash IS NULL OFFSET 0
        ) AS u
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
CREATE OR REPLACE FUNCTION rounds_to_draw(p_shard integer, p_rounds_max integer)
    RETURNS TABLE (
        round_id bigint, room_id uuid, number bigint, commit_hash bytea, rules_hash bytea, bets_root bytea, bets_count integer, locked_ms bigint,
        beacon_round bigint, prev_lock bytea, lock_hash bytea, released_lock_hash bytea, profile text, seed bytea
    )
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    at_ms CONSTANT bigint := now_ms();
BEGIN
    RETURN QUERY
    SELECT r.id, r.room_id, r.number, r.commit_hash, r.rules_hash, r.bets_root, r.bets_count, r.locked_ms, r.beacon_round, r.prev_lock,
        r.lock_hash, released.lock_hash, ours.profile, released.seed
    FROM (
        SELECT r.* FROM rounds AS r
        WHERE r.ended_ms IS NULL AND r.lock_due_ms <= at_ms AND r.draw_due_ms <= at_ms AND r.phase = 'locked' AND r.lock_hash IS NOT NULL OFFSET 0
    ) AS r
    CROSS JOIN LATERAL (SELECT room.profile FROM rooms AS room WHERE room.id = r.room_id AND room.shard = p_shard LIMIT 1) AS ours
    CROSS JOIN LATERAL (SELECT s.seed, s.lock_hash FROM seed_releases AS s WHERE s.round_id = r.id LIMIT 1) AS released
    ORDER BY r.draw_due_ms LIMIT p_rounds_max;
END
$$;

DROP FUNCTION rounds_to_release;

-- The sealed rounds whose seed has not been released, the first to be drawn first, and of those that wait for a beacon only the ones that
-- have it, or were given up: both are for the vault to judge, who alone can read the keys.
CREATE OR REPLACE FUNCTION rounds_awaiting_release(p_rounds_max integer) RETURNS TABLE (
    id bigint, room_id uuid, number bigint, commit_hash bytea, rules_hash bytea, bets_root bytea, bets_count integer, locked_ms bigint,
    beacon_round bigint, prev_lock bytea, lock_hash bytea, epoch_id bigint, wrapped_key bytea, epoch_opened_ms bigint, beacon_sig bytea,
    is_missed boolean, at_ms bigint
)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    due_ms CONSTANT bigint := now_ms();
BEGIN
    RETURN QUERY
    SELECT r.id, r.room_id, r.number, r.commit_hash, r.rules_hash, r.bets_root, r.bets_count, r.locked_ms, r.beacon_round, r.prev_lock,
        r.lock_hash, r.epoch_id, held.wrapped_key, e.opened_ms, kept.signature, missed.round_id IS NOT NULL, now_ms()
    FROM (
        SELECT r.* FROM rounds AS r WHERE r.ended_ms IS NULL AND r.lock_due_ms <= due_ms AND r.phase = 'locked' AND r.lock_hash IS NOT NULL OFFSET 0
    ) AS r
    LEFT JOIN LATERAL (SELECT s.round_id FROM seed_releases AS s WHERE s.round_id = r.id LIMIT 1) AS released ON true
    CROSS JOIN LATERAL (SELECT k.wrapped_key FROM rng_seeds AS k WHERE k.epoch_id = r.epoch_id LIMIT 1) AS held
    CROSS JOIN LATERAL (SELECT e.opened_ms FROM epochs AS e WHERE e.id = r.epoch_id LIMIT 1) AS e
    LEFT JOIN LATERAL (SELECT t.chain_hash FROM rules_beacons AS t WHERE t.rules_hash = r.rules_hash LIMIT 1) AS terms ON true
    LEFT JOIN LATERAL (
        SELECT b.signature FROM beacons AS b WHERE b.chain_hash = terms.chain_hash AND b.round = r.beacon_round LIMIT 1
    ) AS kept ON true
    LEFT JOIN LATERAL (SELECT m.round_id FROM beacon_misses AS m WHERE m.round_id = r.id LIMIT 1) AS missed ON true
    WHERE released.round_id IS NULL AND (terms.chain_hash IS NULL OR kept.signature IS NOT NULL OR missed.round_id IS NOT NULL)
    ORDER BY r.draw_due_ms LIMIT p_rounds_max;
END
$$;

-- The rounds that ask for their seed with another lock than the one it was released for, and were not refused yet.
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
    FROM (
        SELECT r.* FROM rounds AS r WHERE r.ended_ms IS NULL AND r.lock_due_ms <= at_ms AND r.phase = 'locked' AND r.lock_hash IS NOT NULL OFFSET 0
    ) AS r
    CROSS JOIN LATERAL (SELECT s.lock_hash FROM seed_releases AS s WHERE s.round_id = r.id LIMIT 1) AS released
    WHERE released.lock_hash <> r.lock_hash
        AND NOT EXISTS (SELECT FROM refused_locks AS known WHERE known.round_id = r.id AND known.lock_hash = r.lock_hash);
END
$$;

-- The beacons that sealed rounds wait for, and when they are due, the first due first.
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
    FROM (
        SELECT r.* FROM rounds AS r
        WHERE r.ended_ms IS NULL AND r.lock_due_ms <= at_ms AND r.phase = 'locked' AND r.lock_hash IS NOT NULL AND r.beacon_round > 0 OFFSET 0
    ) AS r
    JOIN rules_beacons AS t ON t.rules_hash = r.rules_hash
    JOIN beacon_chains AS c ON c.hash = t.chain_hash
    WHERE NOT EXISTS (SELECT FROM beacons AS b WHERE b.chain_hash = t.chain_hash AND b.round = r.beacon_round)
        AND NOT EXISTS (SELECT FROM beacon_misses AS m WHERE m.round_id = r.id)
    ORDER BY due_in_ms;
END
$$;

-- Gives up the sealed rounds of the shard whose beacon has not come so long after it was due and they were locked. For the scheduler,
-- under its lease.
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
        WHERE r.ended_ms IS NULL AND r.lock_due_ms <= at_ms AND r.phase = 'locked' AND r.lock_hash IS NOT NULL AND r.beacon_round > 0 OFFSET 0
    ) AS r
    CROSS JOIN LATERAL (SELECT FROM rooms AS room WHERE room.id = r.room_id AND room.shard = p_shard LIMIT 1) AS ours
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

-- The rounds of the shard that were given up and whose seed has been released.
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
        WHERE r.ended_ms IS NULL AND r.lock_due_ms <= at_ms AND r.phase = 'locked' AND r.lock_hash IS NOT NULL AND r.beacon_round > 0 OFFSET 0
    ) AS r
    CROSS JOIN LATERAL (SELECT FROM rooms AS room WHERE room.id = r.room_id AND room.shard = p_shard LIMIT 1) AS ours
    CROSS JOIN LATERAL (SELECT FROM beacon_misses AS m WHERE m.round_id = r.id LIMIT 1) AS missed
    CROSS JOIN LATERAL (SELECT s.seed FROM seed_releases AS s WHERE s.round_id = r.id AND s.lock_hash = r.lock_hash LIMIT 1) AS released
    ORDER BY r.draw_due_ms LIMIT p_rounds_max;
END
$$;

-- The oldest drawn rounds that no other settler has, with at most so many bets together; they stay locked until the transaction ends.
CREATE OR REPLACE FUNCTION hold_small_rounds(p_rounds_max integer, p_bets_max bigint)
    RETURNS TABLE (round_id bigint, rules_hash bytea, numbers bytea, bets_count integer)
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    at_ms CONSTANT bigint := now_ms();
    -- A row is locked when it is fetched, one at a time: what is beyond the bounds stays free for other settlers.
    due CURSOR FOR
        SELECT r.id, r.rules_hash, r.numbers, r.bets_count FROM rounds AS r
        WHERE r.ended_ms IS NULL AND r.lock_due_ms <= at_ms AND r.draw_due_ms <= at_ms AND r.phase = 'drawn' AND r.bets_count <= p_bets_max
            AND NOT EXISTS (SELECT FROM settlement_chunks AS c WHERE c.round_id = r.id)
            AND NOT EXISTS (SELECT FROM rounds_set_aside AS a WHERE a.round_id = r.id AND a.retry_ms > at_ms)
        -- Not by the key itself, which the planner would walk from the first round on.
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

CREATE OR REPLACE FUNCTION draw_rounds(
    p_shard integer, p_lease_epoch bigint, round_ids bigint[], seeds bytea[], beacon_sigs bytea[], draws bytea[], results bytea[]
) RETURNS integer
    LANGUAGE plpgsql
    -- By their keys at once: whatever the planner thinks how many rounds are locked, one list is not read for each row of another.
    SET enable_seqscan = off SET enable_nestloop = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    at_ms CONSTANT bigint := now_ms();
    moved integer;
BEGIN
    IF NOT lease_held(p_shard, p_lease_epoch) THEN
        RETURN NULL;
    END IF;
    WITH drawn AS (
        UPDATE rounds AS r SET drawn_ms = at_ms, seed = d.seed, beacon_sig = d.beacon_sig, numbers = d.numbers, result = d.result,
            lease_epoch = p_lease_epoch,
            -- One that has bets although it was locked with none is for the settler to set aside. OFFSET 0: looked up by the round, whatever
            -- the planner thinks of the size of `bets`, and only for those locked with none.
            (phase, ended_ms) = (
                SELECT CASE WHEN empty.is_so THEN 'settled' ELSE 'drawn' END, CASE WHEN empty.is_so THEN at_ms END
                FROM (
                    SELECT CASE WHEN r.bets_count = 0 THEN NOT EXISTS (SELECT FROM bets AS b WHERE b.round_id = r.id OFFSET 0) ELSE false END AS is_so
                    OFFSET 0
                ) AS empty
            )
        FROM unnest(round_ids, seeds, beacon_sigs, draws, results) AS d (id, seed, beacon_sig, numbers, result)
        WHERE r.id = d.id AND r.id = ANY (round_ids) AND r.phase = 'locked' AND r.lock_hash IS NOT NULL
        RETURNING r.id, r.ended_ms, round_event(r.id, r.room_id, r.number) AS begun, r.numbers, r.seed
    ), told AS (
        INSERT INTO outbox_batches (routing_key, events, events_count)
        SELECT * FROM (
            SELECT 'round.drawn', concat('[', string_agg(concat(d.begun, ',"numbers":', numbers_json(d.numbers), '}]'), ',' ORDER BY d.id), ']'), count(*)
            FROM drawn AS d
            UNION ALL
            SELECT 'round.settled', concat('[', string_agg(concat(d.begun, ',"seed":"', encode(d.seed, 'hex'), '","bets_count":0}]'), ',' ORDER BY d.id), ']'), count(*)
            FROM drawn AS d WHERE d.ended_ms IS NOT NULL
        ) AS batch (routing_key, events, events_count)
        WHERE batch.events_count > 0
    )
    SELECT count(*) INTO moved FROM drawn;
    RETURN moved;
END
$$;

CREATE OR REPLACE FUNCTION seal_rounds(
    p_shard integer, p_lease_epoch bigint, round_ids bigint[], counts integer[], roots bytea[], beacon_rounds bigint[], prev_locks bytea[],
    lock_hashes bytea[]
) RETURNS integer
    LANGUAGE plpgsql
    -- By their keys at once: whatever the planner thinks how many rounds are locked, one list is not read for each row of another.
    SET enable_seqscan = off SET enable_nestloop = off SET plan_cache_mode = force_generic_plan
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
        WHERE r.id = s.id AND r.id = ANY (round_ids) AND r.phase = 'locked' AND r.lock_hash IS NULL
        RETURNING r.id, concat(round_event(r.id, r.room_id, r.number), ',"lock":"', encode(r.lock_hash, 'hex'), '","bets_root":"',
            encode(r.bets_root, 'hex'), '","bets_count":', r.bets_count, ',"lock_ms":', r.locked_ms, '}]') AS event
    ), told AS (
        INSERT INTO outbox_batches (routing_key, events, events_count)
        SELECT 'round.locked', concat('[', string_agg(s.event, ',' ORDER BY s.id), ']'), count(*) FROM sealed AS s HAVING count(*) > 0
    )
    SELECT count(*) INTO moved FROM sealed;
    RETURN moved;
END
$$;

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

-- The bets of rounds as the leaves of their trees without the salts (keno/fairness/leaves.py), by ascending id: a row a round, of which
-- only so many bets are read. `bets_count` is how many those are.
CREATE OR REPLACE FUNCTION unsalted_leaves(p_round_ids bigint[], p_after_bet_id bigint, p_bets_max integer)
    RETURNS TABLE (round_id bigint, bets_count bigint, last_bet_id bigint, leaves bytea)
    LANGUAGE plpgsql STABLE
    -- As in place_bets(): each row by its index, whatever the size of the tables when the plan was made.
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    -- The rounds of a wave share a few rules: what a leaf says of its bet's terms is put together once for each.
    WITH terms AS MATERIALIZED (
        SELECT t.rules_hash, t.terms, substring(convert_to(t.currency, 'UTF8') || '\x0000000000000000'::bytea FOR 8) || t.paytable_hash AS ending
        FROM rules_terms AS t WHERE t.rules_hash IN (SELECT DISTINCT r.rules_hash FROM rounds AS r WHERE r.id = ANY (p_round_ids))
    )
    SELECT r.id, b.count, b.last_id, coalesce(b.leaves, '')
    FROM rounds AS r
    CROSS JOIN LATERAL (
        SELECT count(*) AS count, max(bet.id) AS last_id, string_agg(
            '\x0000000000000000'::bytea || int8send(bet.id) || uuid_send(bet.operator_id) || player.account_hash || bet.picks
                || int8send(bet.stake_minor)
                || (SELECT t.ending FROM terms AS t WHERE t.rules_hash = r.rules_hash AND t.terms = bet.terms),
            ''::bytea ORDER BY bet.id) AS leaves
        FROM (
            SELECT of_it.id, of_it.operator_id, of_it.account_id, of_it.picks, of_it.stake_minor, of_it.terms FROM bets AS of_it
            WHERE of_it.round_id = r.id AND of_it.id > p_after_bet_id ORDER BY of_it.id LIMIT p_bets_max
        ) AS bet
        CROSS JOIN LATERAL (
            SELECT p.account_hash FROM accounts AS account JOIN players AS p ON p.id = account.player_id
            WHERE account.id = bet.account_id LIMIT 1
        ) AS player
    ) AS b
    WHERE r.id = ANY (p_round_ids);
END
$$;

-- migrate: rollback
