-- Who leads: schedulers say that they live, and take the lease of a shard past the transitions of the one before.
-- depends: 0020_engine

-- migrate: apply
CREATE TABLE schedulers (
    holder text PRIMARY KEY,
    beat timestamptz NOT NULL,
    leaving boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE schedulers IS 'the candidates, each with its last sign of life; for all shards that it leads, so that one statement says it';
COMMENT ON COLUMN schedulers.leaving IS 'it finishes what it is at, and takes no share of the shards any more';

ALTER TABLE leases ALTER COLUMN holder DROP NOT NULL;
ALTER TABLE leases RENAME COLUMN beat TO since;
COMMENT ON COLUMN leases.holder IS 'null: given up';
COMMENT ON COLUMN leases.since IS 'when it was taken or given up';

-- A transition of a shard holds this lock shared and a take-over takes it exclusively. Row locks alone let new readers of the lease overtake
-- the take-over that waits for them, so that several connections of a leader could keep it out; this lock's queue is fair.
CREATE FUNCTION lease_lock_class() RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN 1279607635;

-- True while the caller's lease is the latest, and holds off a successor until the caller's transaction has ended. FOR SHARE is what
-- makes it a fence: FOR KEY SHARE or a plain EXISTS would let the successor take over in between.
CREATE OR REPLACE FUNCTION lease_held(p_shard integer, p_lease_epoch bigint) RETURNS boolean
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(lease_lock_class(), p_shard);
    PERFORM FROM leases WHERE shard = p_shard AND epoch = p_lease_epoch FOR SHARE;
    RETURN FOUND;
END
$$;

-- Makes `p_holder` the leader of a shard whose latest epoch is still the one it saw (0: none); returns the new epoch, else null.
CREATE FUNCTION take_lease(p_shard integer, p_holder text, p_seen_epoch bigint) RETURNS bigint
    LANGUAGE plpgsql AS $$
DECLARE
    taken bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(lease_lock_class(), p_shard);
    IF p_seen_epoch = 0 THEN
        INSERT INTO leases (shard, epoch, holder, since) VALUES (p_shard, 1, p_holder, clock_timestamp())
        ON CONFLICT DO NOTHING RETURNING epoch INTO taken;
    ELSE
        UPDATE leases SET epoch = epoch + 1, holder = p_holder, since = clock_timestamp()
        WHERE shard = p_shard AND epoch = p_seen_epoch RETURNING epoch INTO taken;
    END IF;
    RETURN taken;
END
$$;

-- Forgets a scheduler that has left, and those that died long ago.
CREATE FUNCTION forget_scheduler(p_holder text) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    BEGIN ATOMIC
        DELETE FROM schedulers WHERE holder = p_holder OR beat < clock_timestamp() - interval '1 hour';
    END;

REVOKE ALL ON FUNCTION forget_scheduler(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_scheduler(text) TO keno_app;
GRANT SELECT, INSERT ON schedulers TO keno_app;
GRANT UPDATE (beat, leaving) ON schedulers TO keno_app;

-- migrate: rollback
