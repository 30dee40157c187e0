-- Who may come in beside the operators' signatures: keys that we sign with, players that are launched, staff, and from where operators call.
-- depends: 0021_leadership

-- migrate: apply
CREATE TABLE signing_keys (
    kid text PRIMARY KEY CHECK (kid ~ '^[A-Za-z0-9_-]{1,64}$'),
    purpose text NOT NULL CHECK (purpose IN ('player-token', 'wallet-callback')),
    state text NOT NULL CHECK (state IN ('next', 'current', 'retired', 'revoked')),
    public_key bytea NOT NULL CHECK (length(public_key) = 32),
    private_key bytea,
    created_ms bigint NOT NULL DEFAULT now_ms(),
    changed_ms bigint NOT NULL DEFAULT now_ms(),
    CHECK ((private_key IS NOT NULL) = (state IN ('next', 'current')))
);
COMMENT ON TABLE signing_keys IS
    'Ed25519 keys that we sign with. Each is published before it signs (next), signs (current), and is published until the last that it signed has expired (retired); a revoked one is believed no more.';
COMMENT ON COLUMN signing_keys.private_key IS 'wrapped by the platform key, and erased once the key has stopped to sign';
CREATE UNIQUE INDEX signing_keys_in_use ON signing_keys (purpose, state) WHERE state IN ('next', 'current');
GRANT SELECT, INSERT ON signing_keys TO keno_app;
GRANT UPDATE (state, private_key, changed_ms) ON signing_keys TO keno_app;

-- Makes the player and the account in the currency where there is none. The outcome is 'opened', also where both were there,
-- 'currency_not_offered' or 'player_blocked'; only an opened one leaves anything behind.
CREATE FUNCTION open_account(
    p_operator_id uuid, p_player text, p_account_hash bytea, p_currency text, OUT outcome text, OUT player_id bigint
)
    LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    player players;
BEGIN
    IF NOT EXISTS (SELECT FROM operators AS o WHERE o.id = p_operator_id AND p_currency = ANY (o.currencies)) THEN
        outcome := 'currency_not_offered';
        RETURN;
    END IF;
    INSERT INTO players (operator_id, reference, account_hash) VALUES (p_operator_id, p_player, p_account_hash) ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT player FROM players AS p WHERE p.operator_id = p_operator_id AND p.reference = p_player;
    IF player.status <> 'active' THEN
        outcome := 'player_blocked';
        RETURN;
    END IF;
    INSERT INTO accounts (operator_id, kind, player_id, currency) VALUES (p_operator_id, 'player', player.id, p_currency) ON CONFLICT DO NOTHING;
    outcome := 'opened';
    player_id := player.id;
END
$$;

ALTER TABLE operators ADD COLUMN networks cidr[] NOT NULL DEFAULT '{}' CHECK (cardinality(networks) <= 64);
COMMENT ON COLUMN operators.networks IS 'from where the operator''s keys may sign; empty: from anywhere';
GRANT UPDATE (networks) ON operators TO keno_app;

CREATE TABLE staff (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text COLLATE "C" NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9._@+-]{0,63}$'),
    role text NOT NULL CHECK (role IN ('owner', 'operator_admin', 'support', 'auditor')),
    operator_id uuid REFERENCES operators,
    password_hash text NOT NULL,
    totp_secret bytea NOT NULL,
    totp_step bigint NOT NULL DEFAULT 0,
    credentials integer NOT NULL DEFAULT 1,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    created_ms bigint NOT NULL DEFAULT now_ms(),
    CHECK (role <> 'owner' OR operator_id IS NULL),
    CHECK (role <> 'operator_admin' OR operator_id IS NOT NULL)
);
COMMENT ON TABLE staff IS 'who may log in to the portal; without an operator they see all of them';
COMMENT ON COLUMN staff.totp_secret IS 'wrapped by the platform key';
COMMENT ON COLUMN staff.totp_step IS 'the time step of the last code that was accepted: no code is accepted twice';
COMMENT ON COLUMN staff.credentials IS 'counts the resets; a session belongs to the count it was opened under';
GRANT SELECT, INSERT ON staff TO keno_app;
GRANT UPDATE (password_hash, totp_secret, totp_step, credentials, status) ON staff TO keno_app;

-- migrate: rollback
