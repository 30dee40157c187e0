-- The public append-only log: its key, its entries in order, the upper hashes of its Merkle tree, and its signed checkpoints.
-- depends: 0026_beacons

-- migrate: apply
CREATE TABLE log_keys (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    origin text COLLATE "C" NOT NULL CHECK (origin ~ '^[!-*,-~]{1,200}$'),
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    private_key bytea NOT NULL,
    created_ms bigint NOT NULL DEFAULT now_ms()
);
COMMENT ON TABLE log_keys IS 'the one identity of the log, for good: its origin and the Ed25519 key that signs its checkpoints';
COMMENT ON COLUMN log_keys.private_key IS 'wrapped by the platform key';

-- index counts from 0 without holes. A round has one entry of each series: epochs, locks, outcomes.
CREATE TABLE log_entries (
    index bigint PRIMARY KEY,
    kind smallint NOT NULL CHECK (kind BETWEEN 1 AND 4),
    series smallint NOT NULL GENERATED ALWAYS AS (least(kind, 3::smallint)) STORED,
    room_id uuid NOT NULL REFERENCES rooms,
    number bigint NOT NULL CHECK (number > 0),
    entry bytea NOT NULL CHECK (length(entry) BETWEEN 1 AND 65535),
    leaf_hash bytea NOT NULL,
    UNIQUE (room_id, series, number),
    CHECK (leaf_hash = sha256('\x00'::bytea || entry))
);
COMMENT ON COLUMN log_entries.kind IS '1 epoch, 2 lock, 3 result, 4 void; for an epoch, number is its first round';

-- The hash of the full subtree over leaves index * 256^level and on: what the tiles of the levels above 0 are made of.
CREATE TABLE log_nodes (
    level smallint NOT NULL CHECK (level BETWEEN 1 AND 7),
    index bigint NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, index)
);

-- The rounds whose lock is in the log and whose outcome is not: where the next outcomes will come from. Kept by a trigger.
CREATE TABLE log_open_locks (
    room_id uuid NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (room_id, number)
);

CREATE TABLE log_checkpoints (
    size bigint PRIMARY KEY CHECK (size > 0),
    root bytea NOT NULL CHECK (length(root) = 32),
    note text NOT NULL,
    signed_ms bigint NOT NULL DEFAULT now_ms()
);
COMMENT ON COLUMN log_checkpoints.note IS 'the signed note as it is served, with the cosignatures that the witnesses gave in time';

-- No writer can leave a hole, take an index twice or put anything before the end. Writers take the same lock as these, so that the ends
-- they see are the ends.
CREATE FUNCTION guard_log_entry() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    size bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(-7304);
    size := coalesce((SELECT max(e.index) + 1 FROM log_entries AS e), 0);
    IF NEW.index <> size THEN
        RAISE EXCEPTION 'the log has % entries: the next one is not %', size, NEW.index USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard_log_entry BEFORE INSERT ON log_entries FOR EACH ROW EXECUTE FUNCTION guard_log_entry();

CREATE FUNCTION guard_log_node() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    size bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(-7304);
    size := coalesce((SELECT max(n.index) + 1 FROM log_nodes AS n WHERE n.level = NEW.level), 0);
    IF NEW.index <> size THEN
        RAISE EXCEPTION 'level % of the log has % hashes: the next one is not %', NEW.level, size, NEW.index
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard_log_node BEFORE INSERT ON log_nodes FOR EACH ROW EXECUTE FUNCTION guard_log_node();

CREATE FUNCTION guard_log_checkpoint() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(-7304);
    IF NEW.size <= (SELECT max(c.size) FROM log_checkpoints AS c) THEN
        RAISE EXCEPTION 'a checkpoint of a log never shrinks: % is not beyond the last one', NEW.size
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NOT EXISTS (SELECT FROM log_entries AS e WHERE e.index = NEW.size - 1) THEN
        RAISE EXCEPTION 'a checkpoint of % entries, which the log does not have', NEW.size USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard_log_checkpoint BEFORE INSERT ON log_checkpoints FOR EACH ROW EXECUTE FUNCTION guard_log_checkpoint();

CREATE FUNCTION keep_open_locks() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NEW.kind = 2 THEN
        INSERT INTO log_open_locks (room_id, number) VALUES (NEW.room_id, NEW.number);
    ELSIF NEW.kind > 2 THEN
        DELETE FROM log_open_locks AS o WHERE o.room_id = NEW.room_id AND o.number = NEW.number;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'an outcome of round % of room % before its lock', NEW.number, NEW.room_id
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
    END IF;
    RETURN NULL;
END
$$;
REVOKE EXECUTE ON FUNCTION keep_open_locks FROM PUBLIC;
CREATE TRIGGER keep_open_locks AFTER INSERT ON log_entries FOR EACH ROW EXECUTE FUNCTION keep_open_locks();

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON log_keys FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON log_entries FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON log_nodes FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON log_checkpoints FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON log_keys, log_entries, log_nodes, log_checkpoints TO keno_app;
GRANT SELECT ON log_open_locks TO keno_app;

-- migrate: rollback
