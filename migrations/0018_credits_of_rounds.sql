-- The winners of many rounds are credited in one transaction, as the events of many rounds arrive in one message.
-- depends: 0017_storage

-- migrate: apply
DROP FUNCTION credit_round(bigint);

-- Credits the winners of settled rounds, and returns those that were not credited before, with the number of their payouts.
CREATE FUNCTION credit_rounds(p_round_ids bigint[]) RETURNS TABLE (round_id bigint, credits_count bigint)
    LANGUAGE plpgsql
    -- As in debit_covered_bets(): accounts are met in the order of their ids, once, whatever rounds their wins are of.
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
    AS $$
DECLARE
    due_ids bigint[];
BEGIN
    -- One at a time, and in one order: a call that waited here sees what the one before it has committed.
    PERFORM FROM rounds AS r WHERE r.id = ANY (p_round_ids) AND r.phase = 'settled' ORDER BY r.id FOR NO KEY UPDATE;
    due_ids := ARRAY(
        SELECT r.id FROM rounds AS r
        WHERE r.id = ANY (p_round_ids) AND r.phase = 'settled' AND NOT EXISTS (SELECT FROM round_credits AS c WHERE c.round_id = r.id)
    );
    RETURN QUERY
    WITH credit AS MATERIALIZED (
        SELECT p.account_id, sum(p.payout_minor)::bigint AS minor FROM payouts AS p WHERE p.round_id = ANY (due_ids)
        GROUP BY p.account_id ORDER BY p.account_id
    ), credited AS (
        UPDATE accounts AS held SET balance_minor = held.balance_minor + credit.minor FROM credit WHERE held.id = credit.account_id
    )
    INSERT INTO round_credits AS done (round_id, credits_count)
    SELECT due.id, (SELECT count(*) FROM payouts AS p WHERE p.round_id = due.id) FROM unnest(due_ids) AS due (id)
    RETURNING done.round_id, done.credits_count;
END
$$;

-- migrate: rollback
