-- Roles, the database clock, tenants and their players and accounts.
-- depends:

-- migrate: apply
-- Roles belong to the cluster, so a second database of it finds them made. They own nothing: the owner of the schema migrates it, and
-- keno_app and keno_vault only get what is granted below.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['keno_app', 'keno_vault'] LOOP
        BEGIN
            EXECUTE format('CREATE ROLE %I LOGIN', role_name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL; -- it is there, or another database's migration has just made it
        END;
    END LOOP;
END
$$;

GRANT USAGE ON SCHEMA public TO keno_app, keno_vault;

CREATE FUNCTION now_ms() RETURNS bigint
    LANGUAGE sql VOLATILE PARALLEL SAFE
    RETURN floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;
COMMENT ON FUNCTION now_ms() IS 'UTC milliseconds by the database clock, which decides every instant of a round';

CREATE FUNCTION refuse_change() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: its rows are immutable', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TABLE operators (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 64),
    wallet_mode text NOT NULL DEFAULT 'transfer' CHECK (wallet_mode IN ('transfer', 'seamless')),
    currencies text[] NOT NULL CHECK (cardinality(currencies) > 0),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    created_ms bigint NOT NULL DEFAULT now_ms()
);

CREATE TABLE operator_keys (
    key_id text PRIMARY KEY CHECK (key_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    operator_id uuid NOT NULL REFERENCES operators,
    algorithm text NOT NULL CHECK (algorithm IN ('ed25519', 'hmac-sha256')),
    material bytea NOT NULL,
    created_ms bigint NOT NULL DEFAULT now_ms(),
    revoked_ms bigint
);
COMMENT ON COLUMN operator_keys.material IS 'ed25519: the 32-byte public key; hmac-sha256: the secret, wrapped by the platform key';
CREATE INDEX operator_keys_of_operator ON operator_keys (operator_id);

CREATE FUNCTION two_active_keys() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM operators WHERE id = NEW.operator_id FOR NO KEY UPDATE;
    IF (SELECT count(*) FROM operator_keys WHERE operator_id = NEW.operator_id AND revoked_ms IS NULL) >= 2 THEN
        RAISE EXCEPTION 'operator % has two active keys: revoke one first', NEW.operator_id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER two_active_keys BEFORE INSERT ON operator_keys FOR EACH ROW EXECUTE FUNCTION two_active_keys();

CREATE TABLE players (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator_id uuid NOT NULL REFERENCES operators,
    reference text COLLATE "C" NOT NULL CHECK (length(reference) BETWEEN 1 AND 64),
    account_hash bytea NOT NULL CHECK (length(account_hash) = 32),
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'blocked')),
    created_ms bigint NOT NULL DEFAULT now_ms(),
    UNIQUE (operator_id, reference)
);
COMMENT ON COLUMN players.account_hash IS 'SHA256("keno1:account" operator id, reference): how the evidence names the player';

CREATE TABLE accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator_id uuid NOT NULL REFERENCES operators,
    kind text NOT NULL CHECK (kind IN ('player', 'house', 'cash')),
    player_id bigint REFERENCES players,
    currency text COLLATE "C" NOT NULL CHECK (currency ~ '^[A-Z0-9]{3,8}$'),
    balance_minor bigint NOT NULL DEFAULT 0,
    CHECK ((kind = 'player') = (player_id IS NOT NULL)),
    CHECK (balance_minor >= 0),
    CHECK (kind = 'player' OR balance_minor = 0)
) WITH (fillfactor = 70);
COMMENT ON TABLE accounts IS
    'A player''s money, and for each operator and currency the house (bets against wins) and cash (deposits against withdrawals). '
    'balance_minor caches the sum of a player''s entries; house and cash sums are computed, because one row that every bet touches would stop the rest.';
CREATE UNIQUE INDEX accounts_of_player ON accounts (player_id, currency) WHERE kind = 'player';
CREATE UNIQUE INDEX accounts_of_operator ON accounts (operator_id, currency, kind) WHERE kind <> 'player';

GRANT SELECT, INSERT ON operators, operator_keys, players, accounts TO keno_app;
GRANT UPDATE (status, currencies) ON operators TO keno_app;
GRANT UPDATE (revoked_ms) ON operator_keys TO keno_app;
GRANT UPDATE (status) ON players TO keno_app;
GRANT UPDATE (balance_minor) ON accounts TO keno_app;

-- migrate: rollback
