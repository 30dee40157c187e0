-- Public beacons: their chains, the rounds that were fetched, which rounds of ours wait for them, and which wait no longer.
-- depends: 0025_pace

-- migrate: apply
-- A chain's hash covers its key and its clock, as drand computes it, so that rules which name the hash name those too.
CREATE TABLE beacon_chains (
    hash bytea PRIMARY KEY,
    public_key bytea NOT NULL CHECK (length(public_key) = 96),
    period_s integer NOT NULL CHECK (period_s > 0),
    genesis_s bigint NOT NULL CHECK (genesis_s > 0),
    group_hash bytea NOT NULL CHECK (length(group_hash) = 32),
    beacon_id text NOT NULL CHECK (length(beacon_id) BETWEEN 1 AND 64),
    CHECK (hash = sha256(int4send(period_s) || int8send(genesis_s) || public_key || group_hash || convert_to(beacon_id, 'UTF8')))
);

-- What a rules document of profile E or B says of beacons: derived from it, never edited.
CREATE TABLE rules_beacons (
    rules_hash bytea PRIMARY KEY REFERENCES rules,
    profile text NOT NULL CHECK (profile IN ('E', 'B')),
    chain_hash bytea NOT NULL REFERENCES beacon_chains
);
CREATE FUNCTION derive_rules_beacon() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    stated CONSTANT jsonb := convert_from(NEW.document, 'UTF8')::jsonb;
BEGIN
    IF stated ->> 'profile' IN ('E', 'B') THEN
        INSERT INTO rules_beacons (rules_hash, profile, chain_hash)
        VALUES (NEW.hash, stated ->> 'profile', decode(stated ->> 'beacon_chain', 'hex'));
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER derive_rules_beacon AFTER INSERT ON rules FOR EACH ROW EXECUTE FUNCTION derive_rules_beacon();

-- A room's profile is that of its rules.
CREATE FUNCTION follow_rules() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    NEW.profile := coalesce((SELECT b.profile FROM rules_beacons AS b WHERE b.rules_hash = NEW.rules_hash), 'S');
    RETURN NEW;
END
$$;
CREATE TRIGGER follow_rules BEFORE UPDATE OF rules_hash ON rooms
    FOR EACH ROW WHEN (OLD.rules_hash <> NEW.rules_hash) EXECUTE FUNCTION follow_rules();

-- Each round of a chain once, for all rooms. Whoever writes has verified the signature; the vault verifies it again.
CREATE TABLE beacons (
    chain_hash bytea NOT NULL REFERENCES beacon_chains,
    round bigint NOT NULL CHECK (round > 0),
    signature bytea NOT NULL CHECK (length(signature) = 48),
    kept_ms bigint NOT NULL DEFAULT now_ms(),
    PRIMARY KEY (chain_hash, round)
);

-- The rounds that wait for their beacon no longer: they will be void, whether it comes after all or not.
CREATE TABLE beacon_misses (
    round_id bigint PRIMARY KEY,
    missed_ms bigint NOT NULL DEFAULT now_ms()
);

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON beacon_chains FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON rules_beacons FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON beacons FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON beacon_misses FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON beacon_chains, rules_beacons, beacons, beacon_misses TO keno_app;
GRANT SELECT ON rules, room_changes, beacon_chains, rules_beacons, beacons, beacon_misses TO keno_vault;

-- Keeps a beacon; true where it is new. The lock is against give_up_beacons(): a round is missed or has its beacon.
CREATE FUNCTION keep_beacon(p_chain_hash bytea, p_round bigint, p_signature bytea) RETURNS boolean
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(-7326);
    INSERT INTO beacons (chain_hash, round, signature) VALUES (p_chain_hash, p_round, p_signature) ON CONFLICT DO NOTHING;
    RETURN FOUND;
END
$$;

-- The beacons that sealed rounds wait for, and when they are due, the first due first.
CREATE FUNCTION beacons_wanted() RETURNS TABLE (chain_hash bytea, beacon_round bigint, due_in_ms bigint)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
DECLARE
    at_ms CONSTANT bigint := now_ms();
BEGIN
    RETURN QUERY
    SELECT DISTINCT t.chain_hash, r.beacon_round, (c.genesis_s + (r.beacon_round - 1) * c.period_s) * 1000 - at_ms AS due_in_ms
    FROM (SELECT r.* FROM rounds AS r WHERE r.phase = 'locked' AND r.lock_hash IS NOT NULL AND r.beacon_round > 0 OFFSET 0) AS r
    JOIN rules_beacons AS t ON t.rules_hash = r.rules_hash
    JOIN beacon_chains AS c ON c.hash = t.chain_hash
    WHERE NOT EXISTS (SELECT FROM beacons AS b WHERE b.chain_hash = t.chain_hash AND b.round = r.beacon_round)
        AND NOT EXISTS (SELECT FROM beacon_misses AS m WHERE m.round_id = r.id)
    ORDER BY due_in_ms;
END
$$;

-- Gives up the sealed rounds of the shard whose beacon has not come so long after it was due and they were locked. For the scheduler,
-- under its lease.
CREATE FUNCTION give_up_beacons(p_shard integer, p_lease_epoch bigint, p_wait_ms bigint) RETURNS integer
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    at_ms CONSTANT bigint := now_ms();
    late bigint[];
    missed integer;
BEGIN
    SELECT array_agg(r.id) INTO late
    FROM (SELECT r.* FROM rounds AS r WHERE r.phase = 'locked' AND r.lock_hash IS NOT NULL AND r.beacon_round > 0 OFFSET 0) AS r
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
CREATE FUNCTION rounds_to_void(p_shard integer, p_rounds_max integer) RETURNS TABLE (round_id bigint, seed bytea)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT r.id, released.seed
    FROM (SELECT r.* FROM rounds AS r WHERE r.phase = 'locked' AND r.lock_hash IS NOT NULL AND r.beacon_round > 0 OFFSET 0) AS r
    CROSS JOIN LATERAL (SELECT FROM rooms AS room WHERE room.id = r.room_id AND room.shard = p_shard LIMIT 1) AS ours
    CROSS JOIN LATERAL (SELECT FROM beacon_misses AS m WHERE m.round_id = r.id LIMIT 1) AS missed
    CROSS JOIN LATERAL (SELECT s.seed FROM seed_releases AS s WHERE s.round_id = r.id AND s.lock_hash = r.lock_hash LIMIT 1) AS released
    ORDER BY r.draw_due_ms LIMIT p_rounds_max;
END
$$;

-- As rounds_to_release(), but of the rounds that wait for a beacon only those that have it, or were given up: both are for the vault to judge.
CREATE FUNCTION rounds_awaiting_release(p_rounds_max integer) RETURNS TABLE (
    id bigint, room_id uuid, number bigint, commit_hash bytea, rules_hash bytea, bets_root bytea, bets_count integer, locked_ms bigint,
    beacon_round bigint, prev_lock bytea, lock_hash bytea, epoch_id bigint, wrapped_key bytea, epoch_opened_ms bigint, beacon_sig bytea,
    is_missed boolean, at_ms bigint
)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT r.id, r.room_id, r.number, r.commit_hash, r.rules_hash, r.bets_root, r.bets_count, r.locked_ms, r.beacon_round, r.prev_lock,
        r.lock_hash, r.epoch_id, held.wrapped_key, e.opened_ms, kept.signature, missed.round_id IS NOT NULL, now_ms()
    FROM (SELECT r.* FROM rounds AS r WHERE r.phase = 'locked' AND r.lock_hash IS NOT NULL OFFSET 0) AS r
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

-- migrate: rollback
