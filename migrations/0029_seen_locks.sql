-- Locks that operators have countersigned: who saw which lock, and when.
-- depends: 0028_vault

-- migrate: apply
CREATE TABLE seen_locks (
    round_id bigint NOT NULL REFERENCES rounds,
    operator_id uuid NOT NULL REFERENCES operators,
    lock_hash bytea NOT NULL CHECK (length(lock_hash) = 32),
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    seen_ms bigint NOT NULL CHECK (seen_ms > 0),
    signature bytea NOT NULL CHECK (length(signature) = 64),
    created_ms bigint NOT NULL DEFAULT now_ms(),
    PRIMARY KEY (round_id, operator_id)
);
COMMENT ON TABLE seen_locks IS 'Ed25519 of an operator over "keno1:seen" lock_hash u64 seen_ms, verified before it was stored';
COMMENT ON COLUMN seen_locks.public_key IS 'the key as it was then: what it signed stands when the key is revoked later';

-- What was countersigned is the round's lock and no other.
CREATE FUNCTION guard_seen_lock() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM rounds AS r WHERE r.id = NEW.round_id AND r.lock_hash = NEW.lock_hash) THEN
        RAISE EXCEPTION 'round % does not have this lock', NEW.round_id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard_seen_lock BEFORE INSERT ON seen_locks FOR EACH ROW EXECUTE FUNCTION guard_seen_lock();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON seen_locks FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON seen_locks TO keno_app;

-- migrate: rollback
