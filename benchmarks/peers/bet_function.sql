-- The peer of acceptance in batches: a bet is one call of place_bet(), one transaction, with the rules of keno's place_bets().
-- Written the way one would without batches: each row is found by a unique index, every early answer ends the call, the debit is one
-- conditional statement, the bet is its own ledger entry, and no table that takes the load has a foreign key.

CREATE TABLE rooms (
    id uuid PRIMARY KEY,
    operator_id uuid,
    status text NOT NULL
);
CREATE TABLE rounds (
    id bigint PRIMARY KEY,
    room_id uuid NOT NULL,
    number bigint NOT NULL,
    phase text NOT NULL,
    lock_due_ms bigint NOT NULL,
    stake_min_minor bigint NOT NULL,
    stake_max_minor bigint NOT NULL,
    stake_step_minor bigint NOT NULL,
    currency text COLLATE "C" NOT NULL,
    paytable_hash bytea NOT NULL
);
CREATE INDEX rounds_open ON rounds (room_id, number) WHERE phase = 'open';

CREATE TABLE accounts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator_id uuid NOT NULL,
    player text COLLATE "C" NOT NULL,
    currency text COLLATE "C" NOT NULL,
    status text NOT NULL DEFAULT 'active',
    account_hash bytea NOT NULL,
    balance_minor bigint NOT NULL CHECK (balance_minor >= 0),
    UNIQUE (operator_id, player, currency)
) WITH (fillfactor = 70);

CREATE TABLE bets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator_id uuid NOT NULL,
    round_id bigint NOT NULL,
    account_id bigint NOT NULL,
    stake_minor bigint NOT NULL CHECK (stake_minor > 0),
    accepted_ms bigint NOT NULL,
    picks bytea NOT NULL CHECK (length(picks) = 10 AND bit_count(picks) BETWEEN 1 AND 10),
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 16),
    transaction_id text COLLATE "C" NOT NULL CHECK (length(transaction_id) BETWEEN 1 AND 64),
    UNIQUE (operator_id, transaction_id)
);
CREATE INDEX bets_of_round ON bets (round_id, id);

CREATE FUNCTION now_ms() RETURNS bigint
    LANGUAGE sql VOLATILE RETURN floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;

-- The outcomes are those of keno/bets/outcome.py.
CREATE FUNCTION place_bet(
    p_operator_id uuid, p_transaction_id text, p_fingerprint bytea, p_room_id uuid, p_player text, p_picks bytea, p_stake_minor bigint,
    p_currency text, p_paytable_hash bytea, OUT outcome integer, OUT bet_id bigint, OUT round_id bigint, OUT round_number bigint,
    OUT account_hash bytea, OUT paytable_hash bytea, OUT accepted_ms bigint
)
    LANGUAGE plpgsql AS $$
DECLARE
    at_ms bigint := now_ms();
    earlier bets;
    room rooms;
    round rounds;
    held record;
BEGIN
    SELECT * INTO earlier FROM bets AS b WHERE b.operator_id = p_operator_id AND b.transaction_id = p_transaction_id;
    IF FOUND THEN
        IF earlier.fingerprint = p_fingerprint THEN
            outcome := 1; bet_id := earlier.id; round_id := earlier.round_id; accepted_ms := earlier.accepted_ms;
            SELECT a.account_hash INTO account_hash FROM accounts AS a WHERE a.id = earlier.account_id;
            SELECT r.number, r.paytable_hash INTO round_number, paytable_hash FROM rounds AS r WHERE r.id = earlier.round_id;
        ELSE
            outcome := 2;
        END IF;
        RETURN;
    END IF;
    SELECT * INTO room FROM rooms AS r WHERE r.id = p_room_id;
    IF NOT FOUND OR room.operator_id <> p_operator_id THEN outcome := 3; RETURN; END IF;
    IF room.status = 'closed' THEN outcome := 5; RETURN; END IF;
    SELECT * INTO round FROM rounds AS r WHERE r.room_id = p_room_id AND r.phase = 'open' AND r.lock_due_ms > at_ms ORDER BY r.number LIMIT 1;
    IF NOT FOUND THEN outcome := 4; RETURN; END IF;
    -- The round cannot be locked before this transaction has ended, if it is still open now that the lock is held.
    PERFORM pg_advisory_xact_lock_shared(round.id);
    at_ms := now_ms();
    PERFORM FROM rounds AS r WHERE r.id = round.id AND r.phase = 'open' AND r.lock_due_ms > at_ms;
    IF NOT FOUND THEN outcome := 4; RETURN; END IF;
    IF length(p_picks) <> 10 OR bit_count(p_picks) NOT BETWEEN 1 AND 10 THEN outcome := 6; RETURN; END IF;
    IF p_currency <> round.currency THEN outcome := 7; RETURN; END IF;
    IF p_stake_minor NOT BETWEEN round.stake_min_minor AND round.stake_max_minor OR p_stake_minor % round.stake_step_minor <> 0 THEN
        outcome := 8; RETURN;
    END IF;
    IF p_paytable_hash <> round.paytable_hash THEN outcome := 9; RETURN; END IF;
    UPDATE accounts AS a SET balance_minor = a.balance_minor - p_stake_minor
    WHERE a.operator_id = p_operator_id AND a.player = p_player AND a.currency = p_currency AND a.status = 'active'
        AND a.balance_minor >= p_stake_minor
    RETURNING a.id, a.account_hash INTO held;
    IF NOT FOUND THEN
        PERFORM FROM accounts AS a
        WHERE a.operator_id = p_operator_id AND a.player = p_player AND a.currency = p_currency AND a.status = 'blocked';
        outcome := CASE WHEN FOUND THEN 10 ELSE 12 END;
        RETURN;
    END IF;
    INSERT INTO bets AS b (operator_id, round_id, account_id, stake_minor, accepted_ms, picks, fingerprint, transaction_id)
    VALUES (p_operator_id, round.id, held.id, p_stake_minor, at_ms, p_picks, p_fingerprint, p_transaction_id)
    RETURNING b.id INTO bet_id;
    outcome := 0; round_id := round.id; round_number := round.number; account_hash := held.account_hash;
    paytable_hash := round.paytable_hash; accepted_ms := at_ms;
END
$$;
