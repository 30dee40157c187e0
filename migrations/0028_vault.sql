-- The vault's keys can be wrapped anew, and its refusals are kept.
-- depends: 0027_log

-- migrate: apply
-- Only the vault, only the wrapping, and only while the key is not published. That the key is the same is for the vault to check, who
-- alone can open it; another key would open none of the commitments, which are public.
DROP TRIGGER refuse_change ON rng_seeds;
CREATE TRIGGER refuse_change BEFORE DELETE OR TRUNCATE ON rng_seeds FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_update BEFORE UPDATE ON rng_seeds
    FOR EACH STATEMENT WHEN (current_user <> 'keno_vault') EXECUTE FUNCTION refuse_change();
CREATE FUNCTION guard_kept_key() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(OLD) - 'wrapped_key' IS DISTINCT FROM to_jsonb(NEW) - 'wrapped_key'
        OR EXISTS (SELECT FROM epochs AS e WHERE e.id = OLD.epoch_id AND e.epoch_key IS NOT NULL) THEN
        RAISE EXCEPTION 'the key of epoch % is immutable: it may be wrapped anew until it is published, and nothing else', OLD.epoch_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard_kept_key BEFORE UPDATE ON rng_seeds FOR EACH ROW EXECUTE FUNCTION guard_kept_key();
GRANT UPDATE (wrapped_key) ON rng_seeds TO keno_vault;

-- Each lock that the vault refused because the round's seed had been released for another, once; the audit trail has it too.
CREATE TABLE refused_locks (
    round_id bigint NOT NULL,
    lock_hash bytea NOT NULL CHECK (length(lock_hash) = 32),
    refused_ms bigint NOT NULL DEFAULT now_ms(),
    PRIMARY KEY (round_id, lock_hash)
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON refused_locks FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
GRANT SELECT ON refused_locks TO keno_app;
GRANT SELECT, INSERT ON refused_locks TO keno_vault;

-- The rounds that ask for their seed with another lock than the one it was released for, and were not refused yet.
CREATE FUNCTION second_locks() RETURNS TABLE (round_id bigint, lock_hash bytea, first_lock_hash bytea)
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT r.id, r.lock_hash, released.lock_hash
    FROM (SELECT r.* FROM rounds AS r WHERE r.phase = 'locked' AND r.lock_hash IS NOT NULL OFFSET 0) AS r
    CROSS JOIN LATERAL (SELECT s.lock_hash FROM seed_releases AS s WHERE s.round_id = r.id LIMIT 1) AS released
    WHERE released.lock_hash <> r.lock_hash
        AND NOT EXISTS (SELECT FROM refused_locks AS known WHERE known.round_id = r.id AND known.lock_hash = r.lock_hash);
END
$$;

-- migrate: rollback
