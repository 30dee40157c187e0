-- The acceptance of bets: a batch in, an outcome for each bet out, one transaction.
-- depends: 0004_flow

-- migrate: apply
-- A bet on its way through place_bets(); `ord` is its place in the batch, from 1.
CREATE TYPE bet_attempt AS (
    ord integer,
    outcome smallint,
    operator_id uuid,
    transaction_id text,
    fingerprint bytea,
    room_id uuid,
    round_id bigint,
    player text,
    account_id bigint,
    house_id bigint,
    picks bytea,
    stake_minor bigint,
    currency text,
    paytable_hash bytea
);

-- The outcomes are those of keno/bets/outcome.py, tested in the order of their numbers: the first that applies is the answer.
CREATE FUNCTION judge_bets(attempts bet_attempt[], at_ms bigint) RETURNS bet_attempt[]
    LANGUAGE sql STABLE AS $$
    SELECT array_agg(
        (a.ord,
         CASE
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
         END::smallint,
         a.operator_id, a.transaction_id, a.fingerprint, room.id, round.id, a.player, account.id, house.id,
         a.picks, a.stake_minor, a.currency, offered.paytable_hash)::bet_attempt
        ORDER BY a.ord)
    FROM unnest(attempts) AS a
    LEFT JOIN bets AS earlier ON earlier.operator_id = a.operator_id AND earlier.transaction_id = a.transaction_id
    LEFT JOIN rounds AS round ON round.id = a.round_id
    LEFT JOIN rooms AS room ON room.id = coalesce(round.room_id, a.room_id)
    LEFT JOIN rules_currencies AS limits ON limits.rules_hash = round.rules_hash AND limits.currency = a.currency
    LEFT JOIN rules_paytables AS offered ON offered.rules_hash = round.rules_hash
        AND CASE WHEN a.paytable_hash IS NULL THEN offered.position = 0 ELSE offered.paytable_hash = a.paytable_hash END
    LEFT JOIN accounts AS house ON house.operator_id = a.operator_id AND house.currency = a.currency AND house.kind = 'house'
    LEFT JOIN players AS player ON player.operator_id = a.operator_id AND player.reference = a.player
    LEFT JOIN accounts AS account ON account.player_id = player.id AND account.currency = a.currency AND account.kind = 'player'
$$;

-- Refuses, in the order of arrival, the bets that the balances left by the bets before them do not cover. The accounts are locked.
-- The money may be gone because another connection placed the very bet while this one waited for the account: then it is answered as that.
CREATE FUNCTION refuse_uncovered_bets(attempts bet_attempt[]) RETURNS bet_attempt[]
    LANGUAGE plpgsql AS $$
DECLARE
    bet record;
    account bigint;
    left_minor bigint;
    earlier bytea;
BEGIN
    FOR bet IN
        SELECT a.ord, a.operator_id, a.transaction_id, a.fingerprint, a.account_id, a.stake_minor, held.balance_minor
        FROM unnest(attempts) AS a JOIN accounts AS held ON held.id = a.account_id
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
            attempts[bet.ord].outcome := CASE WHEN earlier = bet.fingerprint THEN 1 WHEN earlier IS NOT NULL THEN 2 ELSE 12 END;
        END IF;
    END LOOP;
    RETURN attempts;
END
$$;

-- One element an attempt in every array; a bet names its room (its round on sale is taken) or its round, the other is null; a null paytable takes
-- the room's first. No (operator, transaction id) may stand twice in one call. A unique_violation means that another
-- connection placed one of them at the same time: call again, and it is found.
CREATE FUNCTION place_bets(
    operator_ids uuid[], transaction_ids text[], fingerprints bytea[], room_ids uuid[], round_ids bigint[], player_references text[],
    picks bytea[], stakes_minor bigint[], currencies text[], paytable_hashes bytea[]
) RETURNS TABLE (
    ord integer, outcome smallint, bet_id bigint, round_id bigint, round_number bigint, room_id uuid, account_hash bytea,
    paytable_hash bytea, accepted_ms bigint
)
    LANGUAGE plpgsql
    -- The columns of the result share their names with those of the tables.
    AS $$
#variable_conflict use_column
DECLARE
    attempts bet_attempt[];
    at_ms bigint := now_ms();
BEGIN
    SELECT array_agg((a.ord, 0, a.operator_id, a.transaction_id, a.fingerprint, a.room_id, coalesce(named.id, on_sale.id), a.player,
        NULL, NULL, a.picks, a.stake_minor, a.currency, a.paytable_hash)::bet_attempt ORDER BY a.ord)
    INTO attempts
    FROM unnest(operator_ids, transaction_ids, fingerprints, room_ids, round_ids, player_references, picks, stakes_minor, currencies,
        paytable_hashes) WITH ORDINALITY
        AS a (operator_id, transaction_id, fingerprint, room_id, round_id, player, picks, stake_minor, currency, paytable_hash, ord)
    LEFT JOIN rounds AS named ON named.id = a.round_id
    LEFT JOIN LATERAL (
        SELECT r.id FROM rounds AS r
        WHERE r.room_id = a.room_id AND r.phase = 'open' AND r.lock_due_ms > at_ms
        ORDER BY r.number LIMIT 1
    ) AS on_sale ON true;

    -- Shared against the exclusive lock of lock_due_rounds(). What follows stands in statements of their own, whose snapshots are
    -- taken with the lock held: a round that reads as open here cannot be locked before this transaction has ended. A round that is not
    -- open never will be and needs no lock: callers who name a thousand of them do not fill up the lock table of the server.
    PERFORM pg_advisory_xact_lock_shared(r.id)
    FROM (
        SELECT DISTINCT round.id FROM unnest(attempts) AS a JOIN rounds AS round ON round.id = a.round_id AND round.phase = 'open' ORDER BY 1
    ) AS r;

    at_ms := now_ms();
    attempts := judge_bets(attempts, at_ms);

    -- In the order of their ids, so that two batches never wait for each other in a circle.
    PERFORM FROM accounts AS held
    WHERE held.id IN (SELECT a.account_id FROM unnest(attempts) AS a WHERE a.outcome = 0)
    ORDER BY held.id FOR NO KEY UPDATE;
    attempts := refuse_uncovered_bets(attempts);

    WITH placed AS (
        INSERT INTO bets AS b (operator_id, transaction_id, fingerprint, round_id, account_id, picks, stake_minor, paytable_hash, accepted_ms)
        SELECT a.operator_id, a.transaction_id, a.fingerprint, a.round_id, a.account_id, a.picks, a.stake_minor, a.paytable_hash, at_ms
        FROM unnest(attempts) AS a WHERE a.outcome = 0
        -- In the order of their keys: two batches with the same ids wait for each other in the unique index, and never in a circle.
        ORDER BY a.operator_id, a.transaction_id COLLATE "C"
        RETURNING b.id, b.operator_id, b.transaction_id, b.account_id, b.stake_minor
    ), entered AS (
        INSERT INTO wallet_transactions (operator_id, kind, debit_account_id, credit_account_id, amount_minor, bet_id, created_ms)
        SELECT p.operator_id, 'bet', p.account_id, a.house_id, p.stake_minor, p.id, at_ms
        FROM placed AS p JOIN unnest(attempts) AS a ON a.operator_id = p.operator_id AND a.transaction_id = p.transaction_id
    )
    UPDATE accounts SET balance_minor = balance_minor - debit.minor
    FROM (SELECT p.account_id AS id, sum(p.stake_minor)::bigint AS minor FROM placed AS p GROUP BY p.account_id) AS debit
    WHERE accounts.id = debit.id;

    RETURN QUERY
    SELECT a.ord, a.outcome, b.id, b.round_id, round.number, round.room_id, player.account_hash, b.paytable_hash, b.accepted_ms
    FROM unnest(attempts) AS a
    LEFT JOIN bets AS b ON a.outcome IN (0, 1) AND b.operator_id = a.operator_id AND b.transaction_id = a.transaction_id
    LEFT JOIN rounds AS round ON round.id = b.round_id
    LEFT JOIN accounts AS account ON account.id = b.account_id
    LEFT JOIN players AS player ON player.id = account.player_id
    ORDER BY a.ord;
END
$$;

-- migrate: rollback
