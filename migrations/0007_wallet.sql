-- Money that moves outside of bets: deposits, and the credit of a round's wins.
-- depends: 0006_transitions

-- migrate: apply
-- An operator has a house and a cash account in each of its currencies, from the moment it has the currency.
CREATE FUNCTION open_operator_accounts() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO accounts (operator_id, kind, currency)
    SELECT NEW.id, kinds.kind, c.currency
    FROM unnest(NEW.currencies) AS c (currency) CROSS JOIN (VALUES ('house'), ('cash')) AS kinds (kind)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER open_operator_accounts AFTER INSERT OR UPDATE OF currencies ON operators
    FOR EACH ROW EXECUTE FUNCTION open_operator_accounts();

-- The outcome is 'accepted', 'duplicate' (the stored movement), 'conflict' (the id was used for something else) or 'currency_not_offered'.
-- Only an accepted deposit leaves anything behind.
CREATE FUNCTION deposit(
    p_operator_id uuid, p_player text, p_account_hash bytea, p_currency text, p_amount_minor bigint, p_transaction_id text, p_fingerprint bytea
) RETURNS TABLE (outcome text, wallet_transaction_id bigint, created_ms bigint, balance_minor bigint)
    LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    cash bigint;
    player bigint;
    held accounts;
    entered wallet_transactions;
BEGIN
    -- One at a time for an id, so that the second finds what the first has done.
    PERFORM pg_advisory_xact_lock(7304, hashtext(p_operator_id::text || p_transaction_id));
    SELECT * INTO entered FROM wallet_transactions AS w WHERE w.operator_id = p_operator_id AND w.transaction_id = p_transaction_id;
    IF entered.id IS NOT NULL THEN
        RETURN QUERY SELECT CASE WHEN entered.fingerprint = p_fingerprint THEN 'duplicate' ELSE 'conflict' END,
            entered.id, entered.created_ms, a.balance_minor FROM accounts AS a WHERE a.id = entered.credit_account_id;
        RETURN;
    END IF;
    SELECT a.id INTO cash FROM accounts AS a WHERE a.operator_id = p_operator_id AND a.currency = p_currency AND a.kind = 'cash';
    IF cash IS NULL THEN
        RETURN QUERY SELECT 'currency_not_offered', NULL::bigint, NULL::bigint, NULL::bigint;
        RETURN;
    END IF;
    INSERT INTO players (operator_id, reference, account_hash) VALUES (p_operator_id, p_player, p_account_hash) ON CONFLICT DO NOTHING;
    SELECT p.id INTO STRICT player FROM players AS p WHERE p.operator_id = p_operator_id AND p.reference = p_player;
    INSERT INTO accounts (operator_id, kind, player_id, currency) VALUES (p_operator_id, 'player', player, p_currency) ON CONFLICT DO NOTHING;
    UPDATE accounts AS a SET balance_minor = a.balance_minor + p_amount_minor
    WHERE a.player_id = player AND a.currency = p_currency RETURNING * INTO STRICT held;
    INSERT INTO wallet_transactions (operator_id, kind, debit_account_id, credit_account_id, amount_minor, transaction_id, fingerprint)
    VALUES (p_operator_id, 'deposit', cash, held.id, p_amount_minor, p_transaction_id, p_fingerprint)
    RETURNING * INTO entered;
    RETURN QUERY SELECT 'accepted', entered.id, entered.created_ms, held.balance_minor;
END
$$;

-- Adds the wins of a settled round to the balances, once: a second call finds the round's row in round_credits and changes nothing.
CREATE FUNCTION credit_round(p_round_id bigint) RETURNS bigint
    LANGUAGE plpgsql
    -- As in debit_covered_bets(): accounts are met in the order of their ids.
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
    AS $$
DECLARE
    credits bigint;
BEGIN
    INSERT INTO round_credits (round_id, credits_count)
    SELECT r.id, (SELECT count(*) FROM payouts AS p WHERE p.round_id = r.id) FROM rounds AS r WHERE r.id = p_round_id AND r.phase = 'settled'
    ON CONFLICT DO NOTHING RETURNING credits_count INTO credits;
    IF credits IS NULL THEN
        RETURN NULL;
    END IF;
    UPDATE accounts AS held SET balance_minor = held.balance_minor + credit.minor
    FROM (
        SELECT p.account_id, sum(p.payout_minor)::bigint AS minor FROM payouts AS p WHERE p.round_id = p_round_id
        GROUP BY p.account_id ORDER BY p.account_id
    ) AS credit
    WHERE held.id = credit.account_id;
    RETURN credits;
END
$$;

-- migrate: rollback
