-- What accounts have won so far of a round that is settled in chunks: read by account, where before all payouts so far were read for each chunk.
-- depends: 0033_texts

-- migrate: apply
CREATE TABLE round_wins (
    round_id bigint NOT NULL,
    account_id bigint NOT NULL,
    paid_minor bigint NOT NULL CHECK (paid_minor > 0),
    PRIMARY KEY (round_id, account_id)
) WITH (fillfactor = 70);
COMMENT ON TABLE round_wins IS
    'What the chunks so far of a round paid each account, where the round''s rules have a maximum for that: the sum of its payouts, written with the '
    'chunks by a trigger and by nobody else. Forgotten some time after the round has ended.';
GRANT SELECT ON round_wins TO keno_app;

-- A chunk is recorded after its payouts. Whoever records it, these are added in the same statement: the next chunk is paid by what stands here.
CREATE FUNCTION add_round_wins() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    -- Each row by its key, whatever the size of the tables when the plan was made.
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
BEGIN
    INSERT INTO round_wins AS before (round_id, account_id, paid_minor)
    SELECT won.round_id, won.account_id, sum(won.payout_minor)
    FROM (
        -- A row for each operator and terms says the same of the bets.
        SELECT DISTINCT c.round_id, c.first_bet_id, c.last_bet_id
        FROM chunk AS c JOIN rounds AS r ON r.id = c.round_id
        WHERE EXISTS (SELECT FROM rules_currencies AS l WHERE l.rules_hash = r.rules_hash AND l.round_win_max_minor IS NOT NULL)
    ) AS done
    CROSS JOIN LATERAL (
        SELECT p.round_id, p.account_id, p.payout_minor FROM payouts AS p
        WHERE p.round_id = done.round_id AND p.bet_id BETWEEN done.first_bet_id AND done.last_bet_id AND p.payout_minor > 0 OFFSET 0
    ) AS won
    GROUP BY won.round_id, won.account_id ORDER BY won.round_id, won.account_id
    ON CONFLICT (round_id, account_id) DO UPDATE SET paid_minor = before.paid_minor + excluded.paid_minor;
    RETURN NULL;
END
$$;
CREATE TRIGGER add_round_wins AFTER INSERT ON settlement_chunks REFERENCING NEW TABLE AS chunk FOR EACH STATEMENT EXECUTE FUNCTION add_round_wins();

-- Of rounds that are begun. Nobody adds a chunk meanwhile: the trigger was made under a lock that keeps them out.
INSERT INTO round_wins (round_id, account_id, paid_minor)
SELECT p.round_id, p.account_id, sum(p.payout_minor)
FROM rounds AS r JOIN payouts AS p ON p.round_id = r.id
WHERE r.phase = 'drawn' AND p.payout_minor > 0
    AND EXISTS (SELECT FROM rules_currencies AS l WHERE l.rules_hash = r.rules_hash AND l.round_win_max_minor IS NOT NULL)
GROUP BY p.round_id, p.account_id;

-- What the accounts of the next bets of a round after one have won in it: 16 bytes an account, its id and the sum in minor units, both
-- big-endian. It reads those bets and those accounts, and nothing that grows with the round.
CREATE FUNCTION wins_before(p_round_id bigint, p_bet_id bigint, p_bets_max integer) RETURNS bytea
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
BEGIN
    RETURN coalesce(string_agg(int8send(betting.account_id) || int8send(before.paid_minor), ''), '')
    FROM (
        SELECT DISTINCT next.account_id
        FROM (SELECT b.account_id FROM bets AS b WHERE b.round_id = p_round_id AND b.id > p_bet_id ORDER BY b.id LIMIT p_bets_max) AS next
    ) AS betting
    CROSS JOIN LATERAL (
        SELECT w.paid_minor FROM round_wins AS w WHERE w.round_id = p_round_id AND w.account_id = betting.account_id LIMIT 1
    ) AS before;
END
$$;

-- Deletes some of what accounts won of rounds that have ended; returns how many. The only way for the services to delete any.
CREATE FUNCTION forget_round_wins(p_wins_max integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    forgotten integer;
BEGIN
    -- From round to round: one that cannot be settled does not keep those of the others.
    WITH RECURSIVE listed AS (
        SELECT (SELECT min(w.round_id) FROM round_wins AS w) AS round_id
        UNION ALL
        SELECT (SELECT min(w.round_id) FROM round_wins AS w WHERE w.round_id > l.round_id) FROM listed AS l WHERE l.round_id IS NOT NULL
    ), ended AS MATERIALIZED (
        SELECT w.round_id, w.account_id FROM listed AS l JOIN rounds AS r ON r.id = l.round_id AND r.ended_ms IS NOT NULL
        JOIN round_wins AS w ON w.round_id = r.id LIMIT p_wins_max
    )
    DELETE FROM round_wins AS w USING ended AS e WHERE (w.round_id, w.account_id) = (e.round_id, e.account_id);
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END
$$;
REVOKE EXECUTE ON FUNCTION add_round_wins, forget_round_wins FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_round_wins TO keno_app;

-- migrate: rollback
