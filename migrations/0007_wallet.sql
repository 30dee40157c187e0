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

-- Credits the winners of a settled round. The caller's inbox makes it happen once; the unique (bet, kind) of the ledger would refuse a second time.
CREATE FUNCTION credit_round(p_round_id bigint) RETURNS TABLE (credits_count bigint, credited_minor numeric)
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM accounts AS held
    WHERE held.id IN (SELECT b.account_id FROM payouts AS p JOIN bets AS b ON b.id = p.bet_id WHERE p.round_id = p_round_id)
    ORDER BY held.id FOR NO KEY UPDATE;
    RETURN QUERY
    WITH entered AS (
        INSERT INTO wallet_transactions AS w (operator_id, kind, debit_account_id, credit_account_id, amount_minor, bet_id)
        SELECT b.operator_id, 'win', house.id, b.account_id, p.payout_minor, b.id
        FROM payouts AS p
        JOIN bets AS b ON b.id = p.bet_id
        JOIN accounts AS held ON held.id = b.account_id
        LEFT JOIN accounts AS house ON house.operator_id = held.operator_id AND house.currency = held.currency AND house.kind = 'house'
        WHERE p.round_id = p_round_id
        ORDER BY b.id
        RETURNING w.credit_account_id, w.amount_minor
    ), credited AS (
        UPDATE accounts SET balance_minor = balance_minor + credit.minor
        FROM (SELECT e.credit_account_id AS id, sum(e.amount_minor)::bigint AS minor FROM entered AS e GROUP BY 1) AS credit
        WHERE accounts.id = credit.id
    )
    SELECT count(*), coalesce(sum(e.amount_minor), 0) FROM entered AS e;
END
$$;

-- migrate: rollback
