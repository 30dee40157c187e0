-- The acceptance of bets: a batch in, an outcome for each bet out, one transaction.
-- depends: 0004_flow

-- migrate: apply
-- A batch on its way through place_bets(): element i of each array is of bet i. The outcomes are those of keno/bets/outcome.py.
CREATE TYPE bet_batch AS (
    operator_ids uuid[],
    transaction_ids text[],
    fingerprints bytea[],
    round_ids bigint[],
    picks bytea[],
    stakes_minor bigint[],
    outcomes smallint[],
    terms smallint[],
    account_ids bigint[],
    account_hashes bytea[],
    bet_ids bigint[]
);

-- The round of each bet: the one it names, or the one on sale in the room it names; null where there is none.
CREATE FUNCTION rounds_meant(room_ids uuid[], round_ids bigint[], at_ms bigint) RETURNS bigint[]
    LANGUAGE sql STABLE AS $$
    WITH on_sale AS MATERIALIZED (
        SELECT room.id AS room_id,
            (SELECT r.id FROM rounds AS r WHERE r.room_id = room.id AND r.phase = 'open' AND r.lock_due_ms > at_ms ORDER BY r.number LIMIT 1) AS round_id
        FROM (SELECT DISTINCT u.id FROM unnest(room_ids) AS u (id) WHERE u.id IS NOT NULL) AS room
    ), named AS MATERIALIZED (
        SELECT r.id FROM rounds AS r WHERE r.id IN (SELECT u.id FROM unnest(round_ids) AS u (id) WHERE u.id IS NOT NULL)
    )
    SELECT array_agg(coalesce(named.id, on_sale.round_id) ORDER BY a.ord)
    FROM unnest(room_ids, round_ids) WITH ORDINALITY AS a (room_id, round_id, ord)
    LEFT JOIN named ON named.id = a.round_id
    LEFT JOIN on_sale ON on_sale.room_id = a.room_id
$$;

-- Judges every bet by all but its balance; the tests stand in the order of the outcomes' numbers, and the first that applies is the answer.
CREATE FUNCTION judge_bets(batch bet_batch, room_ids uuid[], player_references text[], currencies text[], paytable_hashes bytea[], at_ms bigint)
    RETURNS bet_batch
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT array_agg(j.outcome), array_agg(j.terms), array_agg(j.account_id), array_agg(j.account_hash)
    INTO batch.outcomes, batch.terms, batch.account_ids, batch.account_hashes
    FROM (
        SELECT CASE
                WHEN earlier.fingerprint = a.fingerprint THEN 1
                WHEN earlier.fingerprint IS NOT NULL THEN 2
                WHEN room.id IS NULL OR room.operator_id <> a.operator_id THEN 3
                WHEN round.id IS NOT NULL AND (round.phase <> 'open' OR round.lock_due_ms <= at_ms) THEN 4
                WHEN room.status = 'closed' THEN 5
                WHEN round.id IS NULL THEN 4
                WHEN length(a.picks) <> 10 OR bit_count(a.picks) NOT BETWEEN 1 AND 10 THEN 6
                WHEN limits.currency IS NULL OR house.id IS NULL THEN 7
                WHEN a.stake_minor NOT BETWEEN limits.stake_min_minor AND limits.stake_max_minor
                    OR a.stake_minor % limits.stake_step_minor <> 0 THEN 8
                WHEN offered.paytable_hash IS NULL THEN 9
                WHEN player.status = 'blocked' THEN 10
                WHEN account.id IS NULL THEN 12
                ELSE 0
            END::smallint AS outcome,
            (offered.terms_base + limits.position)::smallint AS terms, account.id AS account_id, player.account_hash
        FROM unnest(batch.operator_ids, batch.transaction_ids, batch.fingerprints, batch.round_ids, batch.picks, batch.stakes_minor, room_ids,
            player_references, currencies, paytable_hashes) WITH ORDINALITY
            AS a (operator_id, transaction_id, fingerprint, round_id, picks, stake_minor, room_id, player, currency, paytable_hash, ord)
        LEFT JOIN bets AS earlier ON earlier.operator_id = a.operator_id AND earlier.transaction_id = a.transaction_id
        LEFT JOIN rounds AS round ON round.id = a.round_id
        LEFT JOIN rooms AS room ON room.id = coalesce(round.room_id, a.room_id)
        LEFT JOIN rules_currencies AS limits ON limits.rules_hash = round.rules_hash AND limits.currency = a.currency
        LEFT JOIN rules_paytables AS offered ON offered.rules_hash = round.rules_hash
            AND CASE WHEN a.paytable_hash IS NULL THEN offered.position = 0 ELSE offered.paytable_hash = a.paytable_hash END
        LEFT JOIN accounts AS house ON house.operator_id = a.operator_id AND house.currency = a.currency AND house.kind = 'house'
        LEFT JOIN players AS player ON player.operator_id = a.operator_id AND player.reference = a.player
        LEFT JOIN accounts AS account ON account.player_id = player.id AND account.currency = a.currency AND account.kind = 'player'
        ORDER BY a.ord
    ) AS j;
    RETURN batch;
END
$$;

-- Debits every accepted bet, if every account covers all of its bets; else nothing is changed and the answer is false.
CREATE FUNCTION debit_covered_bets(batch bet_batch) RETURNS boolean
    LANGUAGE plpgsql
    -- Accounts must be met in the order of their ids, or two batches could wait for each other: so a nested loop over the sorted sums.
    SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
    AS $$
DECLARE
    due integer;
    debited integer;
BEGIN
    SELECT count(DISTINCT a.account_id) INTO due FROM unnest(batch.account_ids, batch.outcomes) AS a (account_id, outcome) WHERE a.outcome = 0;
    UPDATE accounts AS held SET balance_minor = held.balance_minor - debit.minor
    FROM (
        SELECT a.account_id, sum(a.stake_minor)::bigint AS minor
        FROM unnest(batch.account_ids, batch.stakes_minor, batch.outcomes) AS a (account_id, stake_minor, outcome)
        WHERE a.outcome = 0 GROUP BY a.account_id ORDER BY a.account_id
    ) AS debit
    WHERE held.id = debit.account_id AND held.balance_minor >= debit.minor;
    GET DIAGNOSTICS debited = ROW_COUNT;
    IF debited < due THEN
        RAISE EXCEPTION 'not every account covers its bets' USING ERRCODE = 'KN001';
    END IF;
    RETURN true;
EXCEPTION WHEN SQLSTATE 'KN001' THEN
    RETURN false;
END
$$;

-- Refuses, in the order of arrival, the bets that the balances left by the bets before them do not cover, and debits the others.
-- The money may be gone because another connection placed the very bet while this one waited for the account: then it is answered as that.
CREATE FUNCTION debit_bets_in_turn(batch bet_batch) RETURNS bet_batch
    LANGUAGE plpgsql AS $$
DECLARE
    bet record;
    account bigint;
    left_minor bigint;
    earlier bytea;
BEGIN
    PERFORM FROM accounts AS held
    WHERE held.id IN (SELECT a.account_id FROM unnest(batch.account_ids, batch.outcomes) AS a (account_id, outcome) WHERE a.outcome = 0)
    ORDER BY held.id FOR NO KEY UPDATE;
    FOR bet IN
        SELECT a.*, held.balance_minor
        FROM unnest(batch.operator_ids, batch.transaction_ids, batch.fingerprints, batch.account_ids, batch.stakes_minor, batch.outcomes)
            WITH ORDINALITY AS a (operator_id, transaction_id, fingerprint, account_id, stake_minor, outcome, ord)
        JOIN accounts AS held ON held.id = a.account_id
        WHERE a.outcome = 0 ORDER BY a.account_id, a.ord
    LOOP
        IF bet.account_id IS DISTINCT FROM account THEN
            account := bet.account_id;
            left_minor := bet.balance_minor;
        END IF;
        IF bet.stake_minor <= left_minor THEN
            left_minor := left_minor - bet.stake_minor;
        ELSE
            SELECT b.fingerprint INTO earlier FROM bets AS b WHERE b.operator_id = bet.operator_id AND b.transaction_id = bet.transaction_id;
            batch.outcomes[bet.ord] := CASE WHEN earlier = bet.fingerprint THEN 1 WHEN earlier IS NOT NULL THEN 2 ELSE 12 END;
        END IF;
    END LOOP;
    IF NOT debit_covered_bets(batch) THEN
        RAISE EXCEPTION 'the accounts are held and cover what was left to them';
    END IF;
    RETURN batch;
END
$$;

-- One element a bet in every array; a bet names its room (its round on sale is taken) or its round, the other is null; a null paytable takes
-- the room's first. No (operator, transaction id) may stand twice in one call. A unique_violation means that another
-- connection placed one of them at the same time: call again, and it is found.
CREATE FUNCTION place_bets(
    operator_ids uuid[], transaction_ids text[], fingerprints bytea[], room_ids uuid[], round_ids bigint[], player_references text[],
    picks bytea[], stakes_minor bigint[], currencies text[], paytable_hashes bytea[]
) RETURNS TABLE (
    outcome smallint, bet_id bigint, round_id bigint, round_number bigint, room_id uuid, account_hash bytea, paytable_hash bytea,
    accepted_ms bigint
)
    LANGUAGE plpgsql
    -- The columns of the result share their names with those of the tables.
    AS $$
#variable_conflict use_column
DECLARE
    batch bet_batch;
    at_ms bigint;
BEGIN
    batch.operator_ids := operator_ids;
    batch.transaction_ids := transaction_ids;
    batch.fingerprints := fingerprints;
    batch.picks := picks;
    batch.stakes_minor := stakes_minor;
    batch.round_ids := rounds_meant(room_ids, round_ids, now_ms());

    -- Shared against the exclusive lock of lock_due_rounds(). What follows stands in statements of their own, whose snapshots are
    -- taken with the lock held: a round that reads as open here cannot be locked before this transaction has ended. A round that is not
    -- open never will be and needs no lock: callers who name a thousand of them do not fill up the lock table of the server.
    PERFORM pg_advisory_xact_lock_shared(r.id)
    FROM (
        SELECT round.id FROM rounds AS round
        WHERE round.id IN (SELECT u.id FROM unnest(batch.round_ids) AS u (id)) AND round.phase = 'open' ORDER BY 1
    ) AS r;

    at_ms := now_ms();
    batch := judge_bets(batch, room_ids, player_references, currencies, paytable_hashes, at_ms);
    IF NOT debit_covered_bets(batch) THEN
        batch := debit_bets_in_turn(batch);
    END IF;

    SELECT array_agg(CASE WHEN a.outcome = 0 THEN nextval('bets_id_seq') END) INTO batch.bet_ids FROM unnest(batch.outcomes) AS a (outcome);
    INSERT INTO bets (id, operator_id, round_id, account_id, stake_minor, accepted_ms, terms, picks, fingerprint, transaction_id)
    OVERRIDING SYSTEM VALUE
    SELECT a.id, a.operator_id, a.round_id, a.account_id, a.stake_minor, at_ms, a.terms, a.picks, a.fingerprint, a.transaction_id
    FROM unnest(batch.bet_ids, batch.operator_ids, batch.round_ids, batch.account_ids, batch.stakes_minor, batch.terms, batch.picks,
        batch.fingerprints, batch.transaction_ids)
        AS a (id, operator_id, round_id, account_id, stake_minor, terms, picks, fingerprint, transaction_id)
    WHERE a.id IS NOT NULL
    -- In the order of their keys: two batches with the same ids wait for each other in the unique index, and never in a circle.
    ORDER BY a.operator_id, a.transaction_id COLLATE "C";

    RETURN QUERY
    SELECT a.outcome, coalesce(a.bet_id, b.id), round.id, round.number, round.room_id, a.account_hash, t.paytable_hash,
        coalesce(b.accepted_ms, at_ms)
    FROM unnest(batch.outcomes, batch.bet_ids, batch.operator_ids, batch.transaction_ids, batch.round_ids, batch.terms, batch.account_hashes)
        WITH ORDINALITY AS a (outcome, bet_id, operator_id, transaction_id, round_id, terms, account_hash, ord)
    LEFT JOIN bets AS b ON a.outcome = 1 AND b.operator_id = a.operator_id AND b.transaction_id = a.transaction_id
    LEFT JOIN rounds AS round ON a.outcome IN (0, 1) AND round.id = coalesce(b.round_id, a.round_id)
    LEFT JOIN rules_terms AS t ON t.rules_hash = round.rules_hash AND t.terms = coalesce(b.terms, a.terms)
    ORDER BY a.ord;
END
$$;

GRANT USAGE ON SEQUENCE bets_id_seq TO keno_app;

-- migrate: rollback
