-- The settlement of many small rounds at a time and of a large one in chunks; rounds that cannot be settled; a quicker credit.
-- depends: 0008_wallet_movements

-- migrate: apply
-- Settlers look for the oldest drawn rounds, of which there are few among all that have ended.
CREATE INDEX rounds_drawn ON rounds (id) WHERE phase = 'drawn';

CREATE TABLE settlement_chunks (
    round_id bigint NOT NULL,
    first_bet_id bigint NOT NULL,
    last_bet_id bigint NOT NULL CHECK (last_bet_id >= first_bet_id),
    operator_id uuid NOT NULL,
    terms smallint NOT NULL,
    bets_count bigint NOT NULL CHECK (bets_count > 0),
    staked_minor bigint NOT NULL,
    paid_minor bigint NOT NULL,
    cut_minor bigint NOT NULL,
    PRIMARY KEY (round_id, last_bet_id, operator_id, terms)
);
COMMENT ON TABLE settlement_chunks IS
    'what was done of a large round, written with its payouts: its bets between two ids, from where the chunk before ended, a row for each '
    'operator and terms. '
    'The payouts are nobody''s until the round is settled.';
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON settlement_chunks FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE rounds_set_aside (
    round_id bigint PRIMARY KEY,
    failures_count integer NOT NULL DEFAULT 1,
    retry_ms bigint NOT NULL,
    reason text NOT NULL
);
COMMENT ON TABLE rounds_set_aside IS 'rounds that could once not be settled, and when to try again while they are drawn; each failure also has its audit row';

GRANT SELECT, INSERT ON settlement_chunks TO keno_app;
GRANT SELECT, INSERT ON rounds_set_aside TO keno_app;
GRANT UPDATE (failures_count, retry_ms, reason) ON rounds_set_aside TO keno_app;

-- The oldest drawn rounds that no other settler has, with at most so many bets together; they stay locked until the transaction ends.
CREATE FUNCTION hold_small_rounds(p_rounds_max integer, p_bets_max bigint)
    RETURNS TABLE (round_id bigint, rules_hash bytea, numbers bytea, bets_count integer)
    LANGUAGE plpgsql AS $$
DECLARE
    -- A row is locked when it is fetched, one at a time: what is beyond the bounds stays free for other settlers.
    due CURSOR FOR
        SELECT r.id, r.rules_hash, r.numbers, r.bets_count FROM rounds AS r
        WHERE r.phase = 'drawn' AND r.bets_count <= p_bets_max
            AND NOT EXISTS (SELECT FROM settlement_chunks AS c WHERE c.round_id = r.id)
            AND NOT EXISTS (SELECT FROM rounds_set_aside AS a WHERE a.round_id = r.id AND a.retry_ms > now_ms())
        ORDER BY r.id FOR NO KEY UPDATE OF r SKIP LOCKED;
    bets_held bigint := 0;
BEGIN
    OPEN due;
    FOR i IN 1..p_rounds_max LOOP
        FETCH due INTO round_id, rules_hash, numbers, bets_count;
        bets_held := bets_held + bets_count;
        EXIT WHEN NOT FOUND OR bets_held > p_bets_max;
        RETURN NEXT;
    END LOOP;
    CLOSE due;
END
$$;

-- Adds the wins of a settled round to the balances, once: a second call finds the round's row in round_credits and changes nothing.
CREATE OR REPLACE FUNCTION credit_round(p_round_id bigint) RETURNS bigint
    LANGUAGE plpgsql
    -- As in debit_covered_bets(): accounts are met in the order of their ids.
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
    AS $$
DECLARE
    credits bigint;
BEGIN
    -- One at a time: a call that waited here sees what the one before it has committed.
    PERFORM FROM rounds AS r WHERE r.id = p_round_id AND r.phase = 'settled' FOR NO KEY UPDATE;
    IF NOT FOUND OR EXISTS (SELECT FROM round_credits AS c WHERE c.round_id = p_round_id) THEN
        RETURN NULL;
    END IF;
    WITH credit AS MATERIALIZED (
        SELECT p.account_id, sum(p.payout_minor)::bigint AS minor, count(*) AS payouts_count FROM payouts AS p WHERE p.round_id = p_round_id
        GROUP BY p.account_id ORDER BY p.account_id
    ), credited AS (
        UPDATE accounts AS held SET balance_minor = held.balance_minor + credit.minor FROM credit WHERE held.id = credit.account_id
    )
    INSERT INTO round_credits (round_id, credits_count) SELECT p_round_id, coalesce(sum(credit.payouts_count), 0) FROM credit
    RETURNING credits_count INTO credits;
    RETURN credits;
END
$$;

-- migrate: rollback
