-- The rest of the wallet: withdrawals, rollbacks, void rounds and their refunds, and statements.
-- depends: 0007_wallet

-- migrate: apply
-- The largest balance that a movement may lead to: keno.money.MINOR_MAX. Wins and refunds may pass it.
CREATE FUNCTION minor_max() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 9007199254740991;

CREATE TABLE rollbacks (
    operator_id uuid NOT NULL,
    target_id text COLLATE "C" NOT NULL CHECK (length(target_id) BETWEEN 1 AND 64),
    transaction_id text COLLATE "C" NOT NULL CHECK (length(transaction_id) BETWEEN 1 AND 64),
    wallet_transaction_id bigint,
    created_ms bigint NOT NULL DEFAULT now_ms(),
    PRIMARY KEY (operator_id, target_id)
);
COMMENT ON TABLE rollbacks IS
    'The transaction ids that were rolled back, each once and for ever. Without a wallet transaction it is a tombstone: nothing had come under the id, and nothing will.';
CREATE UNIQUE INDEX rollbacks_by_caller ON rollbacks (operator_id, transaction_id);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON rollbacks FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
GRANT SELECT, INSERT ON rollbacks TO keno_app;

-- Shared against the exclusive lock of roll_back(): what an id names is looked up after this, and no rollback of an id without a
-- bet commits between the look and the bet. Called by place_bets() in a statement of its own before the bets are judged.
CREATE FUNCTION hold_off_rollbacks(operator_ids uuid[]) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(7305, o.key)
    FROM (SELECT DISTINCT hashtext(u.id::text) AS key FROM unnest(operator_ids) AS u (id) ORDER BY 1) AS o;
END
$$;

DROP FUNCTION deposit;

-- Lets one transaction at a time act on an id, so that the second finds what the first has done.
CREATE FUNCTION take_turns(p_operator_id uuid, transaction_ids text[]) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7304, t.key)
    FROM (SELECT DISTINCT hashtext(p_operator_id::text || u.id) AS key FROM unnest(transaction_ids) AS u (id) ORDER BY 1) AS t;
END
$$;

-- Adds to a player's balance, or takes from it. The refusal is null, or 'insufficient_funds' or 'balance_limit', and then nothing was done.
-- Without an account the balance is 0.
CREATE FUNCTION change_balance(p_account_id bigint, p_change_minor bigint, OUT refusal text, OUT balance_minor bigint)
    LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    held_minor bigint;
BEGIN
    SELECT a.balance_minor INTO held_minor FROM accounts AS a WHERE a.id = p_account_id FOR NO KEY UPDATE;
    balance_minor := coalesce(held_minor, 0) + p_change_minor;
    IF balance_minor < 0 THEN
        refusal := 'insufficient_funds';
    ELSIF p_change_minor > 0 AND balance_minor > minor_max() THEN
        refusal := 'balance_limit';
    ELSE
        UPDATE accounts AS a SET balance_minor = held_minor + p_change_minor WHERE a.id = p_account_id;
    END IF;
END
$$;

-- A deposit or withdrawal. The outcome is 'accepted', 'duplicate' (the stored movement), 'conflict' (the id was used for something else, or
-- rolled back), 'currency_not_offered', 'player_not_found', 'insufficient_funds' or 'balance_limit'; only an accepted one leaves anything behind.
-- A deposit makes the player and the account. A currency that was taken from the operator can be withdrawn and not deposited.
CREATE FUNCTION move_money(
    p_kind text, p_operator_id uuid, p_player text, p_account_hash bytea, p_currency text, p_amount_minor bigint, p_transaction_id text,
    p_fingerprint bytea
) RETURNS TABLE (outcome text, wallet_transaction_id bigint, created_ms bigint, balance_minor bigint)
    LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    is_deposit CONSTANT boolean := p_kind = 'deposit';
    cash bigint;
    player bigint;
    account bigint;
    changed record;
    entered wallet_transactions;
BEGIN
    PERFORM take_turns(p_operator_id, ARRAY[p_transaction_id]);
    SELECT * INTO entered FROM wallet_transactions AS w WHERE w.operator_id = p_operator_id AND w.transaction_id = p_transaction_id;
    IF entered.id IS NOT NULL THEN
        RETURN QUERY SELECT CASE WHEN entered.fingerprint = p_fingerprint THEN 'duplicate' ELSE 'conflict' END,
            entered.id, entered.created_ms, a.balance_minor
        FROM accounts AS a WHERE a.id IN (entered.debit_account_id, entered.credit_account_id) AND a.kind = 'player';
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM rollbacks AS r WHERE r.operator_id = p_operator_id AND p_transaction_id IN (r.target_id, r.transaction_id)) THEN
        RETURN QUERY SELECT 'conflict', NULL::bigint, NULL::bigint, NULL::bigint;
        RETURN;
    END IF;
    SELECT a.id INTO cash FROM accounts AS a JOIN operators AS o ON o.id = a.operator_id
    WHERE o.id = p_operator_id AND a.currency = p_currency AND a.kind = 'cash' AND (NOT is_deposit OR p_currency = ANY (o.currencies));
    IF cash IS NULL THEN
        RETURN QUERY SELECT 'currency_not_offered', NULL::bigint, NULL::bigint, NULL::bigint;
        RETURN;
    END IF;
    IF is_deposit THEN
        INSERT INTO players (operator_id, reference, account_hash) VALUES (p_operator_id, p_player, p_account_hash) ON CONFLICT DO NOTHING;
    END IF;
    SELECT p.id INTO player FROM players AS p WHERE p.operator_id = p_operator_id AND p.reference = p_player;
    IF player IS NULL THEN
        RETURN QUERY SELECT 'player_not_found', NULL::bigint, NULL::bigint, NULL::bigint;
        RETURN;
    END IF;
    IF is_deposit THEN
        INSERT INTO accounts (operator_id, kind, player_id, currency) VALUES (p_operator_id, 'player', player, p_currency) ON CONFLICT DO NOTHING;
    END IF;
    SELECT a.id INTO account FROM accounts AS a WHERE a.player_id = player AND a.currency = p_currency;
    SELECT * INTO changed FROM change_balance(account, CASE WHEN is_deposit THEN p_amount_minor ELSE -p_amount_minor END);
    IF changed.refusal IS NOT NULL THEN
        RETURN QUERY SELECT changed.refusal, NULL::bigint, NULL::bigint, NULL::bigint;
        RETURN;
    END IF;
    INSERT INTO wallet_transactions (operator_id, kind, debit_account_id, credit_account_id, amount_minor, transaction_id, fingerprint)
    VALUES (p_operator_id, p_kind, CASE WHEN is_deposit THEN cash ELSE account END, CASE WHEN is_deposit THEN account ELSE cash END,
        p_amount_minor, p_transaction_id, p_fingerprint)
    RETURNING * INTO entered;
    RETURN QUERY SELECT 'accepted', entered.id, entered.created_ms, changed.balance_minor;
END
$$;

-- Undoes the deposit or withdrawal of an id, or keeps an id that nothing has come under from ever being used. The outcome is 'accepted',
-- 'duplicate' (the stored rollback), 'conflict' (the rollback's own id was used for something else, or the target names a bet and a movement),
-- 'already_rolled_back' (under another id), 'bet_stands', 'rollback_stands', 'insufficient_funds' or 'balance_limit'; only an accepted one
-- leaves anything behind. What is undone is null for a tombstone.
CREATE FUNCTION roll_back(p_operator_id uuid, p_target_id text, p_transaction_id text, p_fingerprint bytea) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    target wallet_transactions;
    account bigint;
    refusal text;
    reversal bigint;
    own rollbacks;
BEGIN
    PERFORM take_turns(p_operator_id, ARRAY[p_target_id, p_transaction_id]);
    SELECT * INTO own FROM rollbacks AS r WHERE r.operator_id = p_operator_id AND r.transaction_id = p_transaction_id;
    IF own.target_id IS NOT NULL THEN
        RETURN CASE WHEN own.target_id = p_target_id THEN 'duplicate' ELSE 'conflict' END;
    END IF;
    IF EXISTS (SELECT FROM wallet_transactions AS w WHERE w.operator_id = p_operator_id AND w.transaction_id = p_transaction_id)
        OR EXISTS (SELECT FROM rollbacks AS r WHERE r.operator_id = p_operator_id AND r.target_id = p_transaction_id) THEN
        RETURN 'conflict';
    END IF;
    IF EXISTS (SELECT FROM rollbacks AS r WHERE r.operator_id = p_operator_id AND r.target_id = p_target_id) THEN
        RETURN 'already_rolled_back';
    END IF;
    IF EXISTS (SELECT FROM rollbacks AS r WHERE r.operator_id = p_operator_id AND r.transaction_id = p_target_id) THEN
        RETURN 'rollback_stands';
    END IF;
    SELECT * INTO target FROM wallet_transactions AS w WHERE w.operator_id = p_operator_id AND w.transaction_id = p_target_id;
    -- Exclusive against the shared lock of place_bets(): a bet of this id on its way is there before the next statement looks, and one
    -- that comes later finds the rollback.
    PERFORM pg_advisory_xact_lock(7305, hashtext(p_operator_id::text));
    IF EXISTS (SELECT FROM bets AS b WHERE b.operator_id = p_operator_id AND b.transaction_id = p_target_id) THEN
        RETURN CASE WHEN target.id IS NULL THEN 'bet_stands' ELSE 'conflict' END;
    END IF;
    IF target.id IS NOT NULL THEN
        account := CASE target.kind WHEN 'deposit' THEN target.credit_account_id ELSE target.debit_account_id END;
        SELECT c.refusal INTO refusal
        FROM change_balance(account, CASE target.kind WHEN 'deposit' THEN -target.amount_minor ELSE target.amount_minor END) AS c;
        IF refusal IS NOT NULL THEN
            RETURN refusal;
        END IF;
        INSERT INTO wallet_transactions (operator_id, kind, debit_account_id, credit_account_id, amount_minor, transaction_id, fingerprint)
        VALUES (p_operator_id, 'rollback', target.credit_account_id, target.debit_account_id, target.amount_minor, p_transaction_id, p_fingerprint)
        RETURNING id INTO reversal;
    END IF;
    INSERT INTO rollbacks (operator_id, target_id, transaction_id, wallet_transaction_id)
    VALUES (p_operator_id, p_target_id, p_transaction_id, reversal);
    RETURN 'accepted';
END
$$;

-- Ends sealed rounds without a draw. Their stakes go back to the players when the event arrives; the number of rounds, or null as in 0006.
ALTER TABLE rounds ADD CHECK (void_reason BETWEEN 0 AND 255);
CREATE FUNCTION void_rounds(p_shard integer, p_lease_epoch bigint, round_ids bigint[], seeds bytea[], reasons smallint[]) RETURNS integer
    LANGUAGE plpgsql AS $$
DECLARE
    moved integer;
BEGIN
    IF NOT lease_held(p_shard, p_lease_epoch) THEN
        RETURN NULL;
    END IF;
    WITH voided AS (
        UPDATE rounds AS r SET phase = 'void', drawn_ms = now_ms(), ended_ms = now_ms(), seed = v.seed, void_reason = v.reason,
            lease_epoch = p_lease_epoch
        FROM unnest(round_ids, seeds, reasons) AS v (id, seed, reason)
        WHERE r.id = v.id AND r.phase = 'locked' AND r.lock_hash IS NOT NULL
        RETURNING r.*
    ), audited AS (
        INSERT INTO audit_logs (actor, action, subject, detail)
        SELECT 'scheduler', 'round.voided', v.room_id::text,
            jsonb_build_object('round', v.id::text, 'number', v.number, 'reason', v.void_reason, 'lease_epoch', p_lease_epoch)
        FROM voided AS v ORDER BY v.id
    ), told AS (
        INSERT INTO outbox (routing_key, aggregate, payload)
        SELECT 'round.voided', 'room:' || v.room_id, jsonb_build_object('v', 1, 'round', v.id::text, 'room', v.room_id, 'number', v.number,
            'seed', encode(v.seed, 'hex'), 'reason', v.void_reason, 'bets_count', v.bets_count)
        FROM voided AS v ORDER BY v.id
        RETURNING 1
    )
    SELECT count(*) INTO moved FROM told;
    RETURN moved;
END
$$;

COMMENT ON TABLE round_credits IS
    'the rounds whose payouts, or stakes where they are void, are in the players'' balances; written with those, in one transaction';

-- Gives the stakes of a void round back, once: a second call finds the round's row in round_credits and changes nothing.
CREATE FUNCTION refund_round(p_round_id bigint) RETURNS bigint
    LANGUAGE plpgsql
    -- As in credit_round().
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
    AS $$
DECLARE
    refunds bigint;
BEGIN
    INSERT INTO round_credits (round_id, credits_count)
    SELECT r.id, (SELECT count(*) FROM bets AS b WHERE b.round_id = r.id) FROM rounds AS r WHERE r.id = p_round_id AND r.phase = 'void'
    ON CONFLICT DO NOTHING RETURNING credits_count INTO refunds;
    IF refunds IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE accounts AS held SET balance_minor = held.balance_minor + refund.minor
    FROM (
        SELECT b.account_id, sum(b.stake_minor)::bigint AS minor FROM bets AS b WHERE b.round_id = p_round_id
        GROUP BY b.account_id ORDER BY b.account_id
    ) AS refund
    WHERE held.id = refund.account_id;
    INSERT INTO wallet_transactions (operator_id, kind, debit_account_id, credit_account_id, amount_minor, bet_id)
    SELECT b.operator_id, 'refund', house.id, b.account_id, b.stake_minor, b.id
    FROM bets AS b
    JOIN accounts AS held ON held.id = b.account_id
    JOIN accounts AS house ON house.operator_id = held.operator_id AND house.currency = held.currency AND house.kind = 'house'
    WHERE b.round_id = p_round_id ORDER BY b.id;
    RETURN refunds;
END
$$;

-- A statement is read by account, newest first. Movements are few and have an index by account. Bets are many: by account alone each
-- would go to a page of its own, and write it again after each checkpoint. So the hour comes first, and a statement asks hour by hour.
DROP INDEX wallet_transactions_debits;
DROP INDEX wallet_transactions_credits;
CREATE INDEX wallet_transactions_debits ON wallet_transactions (debit_account_id, created_ms, id);
CREATE INDEX wallet_transactions_credits ON wallet_transactions (credit_account_id, created_ms, id);
CREATE INDEX bets_of_hour ON bets ((accepted_ms / 3600000), account_id);

-- The beginning of the hour back to which there are enough bets for a page of a statement that ends at p_before_ms; not before the player
-- came (p_oldest_ms), and not further back than p_hours_max hours, so that no page costs more than those.
CREATE FUNCTION statement_start(p_account_ids bigint[], p_oldest_ms bigint, p_before_ms bigint, p_wanted integer, p_hours_max integer)
    RETURNS bigint
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    hour bigint := p_before_ms / 3600000;
    oldest CONSTANT bigint := greatest(p_oldest_ms / 3600000, hour - p_hours_max);
    found bigint := 0;
BEGIN
    LOOP
        found := found + (SELECT count(*) FROM bets AS b
            WHERE b.accepted_ms / 3600000 = hour AND b.account_id = ANY (p_account_ids) AND b.accepted_ms <= p_before_ms);
        EXIT WHEN found >= p_wanted OR hour <= oldest;
        hour := hour - 1;
    END LOOP;
    RETURN hour * 3600000;
END
$$;

-- migrate: rollback
