-- Published documents, rooms, seed epochs, rounds and the lease that fences their scheduler.
-- depends: 0001_foundation

-- migrate: apply
CREATE TABLE paytables (
    hash bytea PRIMARY KEY,
    document bytea NOT NULL,
    created_ms bigint NOT NULL DEFAULT now_ms(),
    CHECK (hash = sha256(document))
);

CREATE TABLE rules (
    hash bytea PRIMARY KEY,
    document bytea NOT NULL,
    created_ms bigint NOT NULL DEFAULT now_ms(),
    CHECK (hash = sha256(document))
);

-- What the acceptance statement needs of a rules document, one row a currency and one a paytable: derived from it, never edited.
CREATE TABLE rules_currencies (
    rules_hash bytea NOT NULL REFERENCES rules,
    position smallint NOT NULL CHECK (position >= 0),
    currency text COLLATE "C" NOT NULL,
    stake_min_minor bigint NOT NULL CHECK (stake_min_minor > 0),
    stake_max_minor bigint NOT NULL CHECK (stake_max_minor >= stake_min_minor),
    stake_step_minor bigint NOT NULL CHECK (stake_step_minor > 0),
    win_max_minor bigint NOT NULL CHECK (win_max_minor >= stake_max_minor),
    PRIMARY KEY (rules_hash, currency),
    UNIQUE (rules_hash, position)
);
CREATE TABLE rules_paytables (
    rules_hash bytea NOT NULL REFERENCES rules,
    position smallint NOT NULL CHECK (position >= 0),
    paytable_hash bytea NOT NULL REFERENCES paytables,
    terms_base smallint NOT NULL CHECK (terms_base >= 0),
    PRIMARY KEY (rules_hash, position),
    UNIQUE (rules_hash, paytable_hash)
);
CREATE VIEW rules_terms AS
    SELECT p.rules_hash, (p.terms_base + c.position)::smallint AS terms, p.paytable_hash, c.currency
    FROM rules_paytables AS p JOIN rules_currencies AS c ON c.rules_hash = p.rules_hash;
COMMENT ON VIEW rules_terms IS 'what a bet is settled by: a paytable in a currency, numbered as keno.game.settlement.RoundTerms numbers them';

CREATE TABLE rooms (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
    operator_id uuid REFERENCES operators,
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed')),
    profile text NOT NULL CHECK (profile IN ('S', 'E', 'B')),
    period_ms integer NOT NULL CHECK (period_ms BETWEEN 2000 AND 60000),
    lock_lead_ms integer NOT NULL CHECK (lock_lead_ms > 0),
    slot_epoch_ms bigint NOT NULL,
    rules_hash bytea NOT NULL REFERENCES rules,
    shard integer NOT NULL DEFAULT 0,
    created_ms bigint NOT NULL DEFAULT now_ms(),
    CHECK (lock_lead_ms < period_ms),
    CHECK (profile <> 'B' OR period_ms >= 3000)
);
COMMENT ON COLUMN rooms.operator_id IS 'the only operator that may bet here; null: shared by all';
COMMENT ON COLUMN rooms.slot_epoch_ms IS 'round n is drawn at slot_epoch_ms + n * period_ms';

CREATE TABLE epochs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id uuid NOT NULL REFERENCES rooms,
    first_round bigint NOT NULL CHECK (first_round > 0),
    rounds_count integer NOT NULL CHECK (rounds_count > 0),
    key_commit bytea NOT NULL CHECK (length(key_commit) = 32),
    commits bytea NOT NULL,
    commits_root bytea NOT NULL CHECK (length(commits_root) = 32),
    opened_ms bigint NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32),
    epoch_key bytea CHECK (length(epoch_key) = 32),
    UNIQUE (room_id, first_round),
    CHECK (length(commits) = 32 * rounds_count),
    CHECK (key_commit = sha256('keno1:ekey'::bytea || epoch_key))
);
COMMENT ON COLUMN epochs.epoch_key IS 'published once every round of the epoch has ended; until then only the vault has it';
ALTER TABLE epochs ALTER COLUMN commits SET STORAGE EXTERNAL;

CREATE FUNCTION guard_epoch() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.epoch_key IS NOT NULL OR to_jsonb(OLD) - 'epoch_key' IS DISTINCT FROM to_jsonb(NEW) - 'epoch_key' THEN
        RAISE EXCEPTION 'epoch % is immutable: only its key may be published, once', OLD.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard_epoch BEFORE UPDATE ON epochs FOR EACH ROW EXECUTE FUNCTION guard_epoch();
CREATE TRIGGER refuse_delete BEFORE DELETE OR TRUNCATE ON epochs FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The vault's own: epoch keys, wrapped. No other role can read them.
CREATE TABLE rng_seeds (
    epoch_id bigint PRIMARY KEY REFERENCES epochs,
    wrapped_key bytea NOT NULL,
    created_ms bigint NOT NULL DEFAULT now_ms()
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON rng_seeds FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- A seed leaves the vault once, against the first lock of its round.
CREATE TABLE seed_releases (
    round_id bigint PRIMARY KEY,
    lock_hash bytea NOT NULL CHECK (length(lock_hash) = 32),
    seed bytea NOT NULL CHECK (length(seed) = 32),
    released_ms bigint NOT NULL DEFAULT now_ms()
);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON seed_releases FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE leases (
    shard integer PRIMARY KEY,
    epoch bigint NOT NULL,
    holder text NOT NULL,
    beat timestamptz NOT NULL
);
COMMENT ON TABLE leases IS 'the fence: a scheduler writes only while the epoch it got with its lease is still the one here';

CREATE TABLE rounds (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id uuid NOT NULL REFERENCES rooms,
    number bigint NOT NULL CHECK (number > 0),
    phase text NOT NULL CHECK (phase IN ('open', 'locked', 'drawn', 'settled', 'skipped', 'void')),
    rules_hash bytea NOT NULL REFERENCES rules,
    epoch_id bigint REFERENCES epochs,
    commit_hash bytea CHECK (length(commit_hash) = 32),
    opened_ms bigint NOT NULL,
    lock_due_ms bigint NOT NULL,
    draw_due_ms bigint NOT NULL CHECK (draw_due_ms > lock_due_ms),
    locked_ms bigint,
    bets_count integer,
    bets_root bytea CHECK (length(bets_root) = 32),
    beacon_round bigint,
    prev_lock bytea CHECK (length(prev_lock) = 32),
    lock_hash bytea CHECK (length(lock_hash) = 32),
    drawn_ms bigint,
    seed bytea CHECK (length(seed) = 32),
    beacon_sig bytea,
    numbers bytea CHECK (length(numbers) = 20),
    result bytea CHECK (length(result) = 32),
    ended_ms bigint,
    void_reason smallint,
    lease_epoch bigint NOT NULL,
    UNIQUE (room_id, number),
    CHECK ((phase = 'skipped') = (commit_hash IS NULL) AND (commit_hash IS NULL) = (epoch_id IS NULL)),
    CHECK ((phase IN ('open', 'skipped')) = (locked_ms IS NULL)),
    CHECK (phase NOT IN ('drawn', 'settled', 'void') OR lock_hash IS NOT NULL),
    CHECK ((lock_hash IS NULL) = (bets_root IS NULL) AND (lock_hash IS NULL) = (bets_count IS NULL)
        AND (lock_hash IS NULL) = (beacon_round IS NULL) AND (lock_hash IS NULL) = (prev_lock IS NULL)),
    CHECK (lock_hash IS NULL OR locked_ms IS NOT NULL),
    CHECK ((phase IN ('drawn', 'settled')) = (numbers IS NOT NULL) AND (numbers IS NULL) = (result IS NULL)),
    CHECK ((phase IN ('drawn', 'settled', 'void')) = (seed IS NOT NULL) AND (seed IS NULL) = (drawn_ms IS NULL)),
    CHECK (beacon_sig IS NULL OR seed IS NOT NULL),
    CHECK ((phase IN ('settled', 'skipped', 'void')) = (ended_ms IS NOT NULL)),
    CHECK ((phase = 'void') = (void_reason IS NOT NULL))
) WITH (fillfactor = 50);
CREATE INDEX rounds_under_way ON rounds (room_id, number) WHERE phase IN ('open', 'locked', 'drawn');
CREATE INDEX rounds_ended ON rounds (ended_ms) WHERE phase IN ('settled', 'void');

-- Mirrors keno/rounds/phases.py: a test compares the two.
CREATE FUNCTION phase_edge_allowed(from_phase text, to_phase text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (from_phase, to_phase) IN (('open', 'locked'), ('locked', 'drawn'), ('locked', 'void'), ('drawn', 'settled'));

CREATE FUNCTION guard_round() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    was jsonb := jsonb_strip_nulls(to_jsonb(OLD) - ARRAY['phase', 'lease_epoch']);
BEGIN
    IF OLD.phase IN ('settled', 'skipped', 'void') THEN
        RAISE EXCEPTION 'round % is %: it is immutable', OLD.id, OLD.phase USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.phase <> OLD.phase AND NOT phase_edge_allowed(OLD.phase, NEW.phase) THEN
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
CREATE TRIGGER guard_round BEFORE UPDATE ON rounds FOR EACH ROW EXECUTE FUNCTION guard_round();

CREATE FUNCTION guard_first_phase() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'round % of room % begins open or skipped, not %', NEW.number, NEW.room_id, NEW.phase
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;
CREATE TRIGGER guard_first_phase BEFORE INSERT ON rounds
    FOR EACH ROW WHEN (NEW.phase NOT IN ('open', 'skipped')) EXECUTE FUNCTION guard_first_phase();
CREATE TRIGGER refuse_delete BEFORE DELETE OR TRUNCATE ON rounds FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON paytables FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON rules FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON rules_currencies FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON rules_paytables FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON paytables, rules, rules_currencies, rules_paytables, rooms TO keno_app;
GRANT SELECT ON rules_terms TO keno_app;
GRANT UPDATE (status, rules_hash) ON rooms TO keno_app;
GRANT SELECT ON epochs, seed_releases TO keno_app;
GRANT SELECT, INSERT, UPDATE ON leases TO keno_app;
GRANT SELECT, INSERT ON rounds TO keno_app;
GRANT UPDATE (phase, locked_ms, bets_count, bets_root, beacon_round, prev_lock, lock_hash, drawn_ms, seed, beacon_sig, numbers, result,
    ended_ms, void_reason, lease_epoch) ON rounds TO keno_app;

GRANT SELECT ON rooms, rounds TO keno_vault;
GRANT SELECT, INSERT ON epochs, rng_seeds, seed_releases TO keno_vault;
GRANT UPDATE (epoch_key) ON epochs TO keno_vault;

-- migrate: rollback
