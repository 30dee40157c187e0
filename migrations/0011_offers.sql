-- Acceptance judges what the bets of a batch have in common once, looks up each row by its index, and limits what a player bets in a round.
-- depends: 0010_events

-- migrate: apply
DROP FUNCTION place_bets, judge_bets, debit_covered_bets, debit_bets_in_turn, rounds_meant;
DROP TYPE bet_batch;

-- Null is no limit. A player's own limit and the operator's hold both.
CREATE TABLE operator_limits (
    operator_id uuid NOT NULL REFERENCES operators,
    currency text COLLATE "C" NOT NULL,
    round_bets_max integer CHECK (round_bets_max >= 0),
    round_stake_max_minor bigint CHECK (round_stake_max_minor >= 0),
    PRIMARY KEY (operator_id, currency)
);
COMMENT ON TABLE operator_limits IS 'what each player of an operator may bet in one round: how many bets, and how much in all of them together';
ALTER TABLE accounts
    ADD round_bets_max integer CHECK (round_bets_max >= 0),
    ADD round_stake_max_minor bigint CHECK (round_stake_max_minor >= 0);
COMMENT ON COLUMN accounts.round_bets_max IS 'this player''s own limit, as in operator_limits';
GRANT SELECT, INSERT ON operator_limits TO keno_app;
GRANT UPDATE (round_bets_max, round_stake_max_minor) ON operator_limits, accounts TO keno_app;

-- Exclusive against hold_off_rollbacks(): once it returns no batch of the operator is on its way that has read the limits before.
CREATE FUNCTION hold_off_bets(p_operator_id uuid) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7305, hashtext(p_operator_id::text));
END
$$;

-- What bets of a batch can have in common: an operator's room or round, a currency and a paytable. Element i of each array is of offer i.
-- The outcomes are those of keno/bets/outcome.py, here by what does not differ between its bets; where it is not 0, the rest may be empty.
CREATE TYPE bet_offers AS (
    operator_ids uuid[],
    currencies text[],
    outcomes smallint[],
    round_ids bigint[],
    terms smallint[],
    stakes_min_minor bigint[],
    stakes_max_minor bigint[],
    stake_steps_minor bigint[],
    round_numbers bigint[],
    room_ids uuid[],
    paytable_hashes bytea[],
    round_bets_max integer[],
    round_stakes_max_minor bigint[]
);

-- A batch on its way through place_bets(): element i of each array is of bet i; `offers` has the place of its offer.
CREATE TYPE bet_batch AS (
    offers integer[],
    operator_ids uuid[],
    transaction_ids text[],
    fingerprints bytea[],
    picks bytea[],
    stakes_minor bigint[],
    outcomes smallint[],
    account_ids bigint[],
    account_hashes bytea[],
    bet_ids bigint[],
    round_bets_max integer[],
    round_stakes_max_minor bigint[],
    limited boolean
);

-- The round of each offer: the one it names, or the one on sale in the room it names; null where there is none.
CREATE FUNCTION rounds_meant(room_ids uuid[], round_ids bigint[], at_ms bigint) RETURNS bigint[]
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN array_agg(
        CASE WHEN a.round_id IS NOT NULL THEN (SELECT r.id FROM rounds AS r WHERE r.id = a.round_id)
        ELSE (
            SELECT r.id FROM rounds AS r WHERE r.room_id = a.room_id AND r.phase = 'open' AND r.lock_due_ms > at_ms ORDER BY r.number LIMIT 1
        ) END ORDER BY a.ord)
    FROM unnest(room_ids, round_ids) WITH ORDINALITY AS a (room_id, round_id, ord);
END
$$;

-- Judges the offers. The tests stand in the order of the outcomes' numbers, and the first that applies is the answer.
CREATE FUNCTION judge_offers(
    p_operator_ids uuid[], p_room_ids uuid[], p_round_ids bigint[], p_currencies text[], p_paytable_hashes bytea[], at_ms bigint
) RETURNS bet_offers
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    offers bet_offers;
BEGIN
    SELECT p_operator_ids, p_currencies, array_agg(j.outcome ORDER BY j.ord), array_agg(j.round_id ORDER BY j.ord), array_agg(j.terms ORDER BY j.ord),
        array_agg(j.stake_min_minor ORDER BY j.ord), array_agg(j.stake_max_minor ORDER BY j.ord), array_agg(j.stake_step_minor ORDER BY j.ord),
        array_agg(j.round_number ORDER BY j.ord), array_agg(j.room_id ORDER BY j.ord), array_agg(j.paytable_hash ORDER BY j.ord),
        array_agg(j.round_bets_max ORDER BY j.ord), array_agg(j.round_stake_max_minor ORDER BY j.ord)
    INTO offers
    FROM (
        SELECT a.ord, round.id AS round_id, round.number AS round_number, room.id AS room_id, offered.paytable_hash,
            limits.stake_min_minor, limits.stake_max_minor, limits.stake_step_minor, own.round_bets_max, own.round_stake_max_minor,
            (offered.terms_base + limits.position)::smallint AS terms,
            CASE
                WHEN room.id IS NULL OR room.operator_id <> a.operator_id THEN 3
                WHEN round.id IS NOT NULL AND (round.phase <> 'open' OR round.lock_due_ms <= at_ms) THEN 4
                WHEN room.status = 'closed' THEN 5
                WHEN round.id IS NULL THEN 4
                WHEN limits.currency IS NULL OR house.id IS NULL THEN 7
                WHEN offered.paytable_hash IS NULL THEN 9
                ELSE 0
            END::smallint AS outcome
        FROM unnest(p_operator_ids, p_room_ids, p_round_ids, p_currencies, p_paytable_hashes) WITH ORDINALITY
            AS a (operator_id, room_id, round_id, currency, paytable_hash, ord)
        LEFT JOIN rounds AS round ON round.id = a.round_id
        LEFT JOIN rooms AS room ON room.id = coalesce(round.room_id, a.room_id)
        LEFT JOIN rules_currencies AS limits ON limits.rules_hash = round.rules_hash AND limits.currency = a.currency
        LEFT JOIN rules_paytables AS offered ON offered.rules_hash = round.rules_hash
            AND CASE WHEN a.paytable_hash IS NULL THEN offered.position = 0 ELSE offered.paytable_hash = a.paytable_hash END
        LEFT JOIN accounts AS house ON house.operator_id = a.operator_id AND house.currency = a.currency AND house.kind = 'house'
        LEFT JOIN operator_limits AS own ON own.operator_id = a.operator_id AND own.currency = a.currency
    ) AS j;
    RETURN offers;
END
$$;

-- Judges every bet by all but its balance and limits. What is wrong has a number, and the lowest is the answer.
-- The look-ups stand in subqueries with a limit, which the planner cannot turn into a scan of all bets or players.
CREATE FUNCTION judge_bets(batch bet_batch, offers bet_offers, player_references text[]) RETURNS bet_batch
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT array_agg(j.operator_id), array_agg(j.outcome), array_agg(j.account_id), array_agg(j.account_hash), array_agg(j.round_bets_max),
        array_agg(j.round_stake_max_minor), bool_or(j.round_bets_max IS NOT NULL OR j.round_stake_max_minor IS NOT NULL)
    INTO batch.operator_ids, batch.outcomes, batch.account_ids, batch.account_hashes, batch.round_bets_max, batch.round_stakes_max_minor,
        batch.limited
    FROM (
        SELECT a.operator_id, account.id AS account_id, player.account_hash,
            least(account.round_bets_max, offers.round_bets_max[a.offer]) AS round_bets_max,
            least(account.round_stake_max_minor, offers.round_stakes_max_minor[a.offer]) AS round_stake_max_minor,
            CASE
                WHEN earlier.fingerprint = a.fingerprint THEN 1
                WHEN earlier.fingerprint IS NOT NULL OR rolled_back.target_id IS NOT NULL THEN 2
                ELSE coalesce(least(
                    nullif(offers.outcomes[a.offer], 0),
                    CASE WHEN length(a.picks) <> 10 OR bit_count(a.picks) NOT BETWEEN 1 AND 10 THEN 6 END,
                    CASE WHEN a.stake_minor NOT BETWEEN offers.stakes_min_minor[a.offer] AND offers.stakes_max_minor[a.offer]
                        OR a.stake_minor % offers.stake_steps_minor[a.offer] <> 0 THEN 8 END,
                    CASE WHEN player.status = 'blocked' THEN 10 END,
                    CASE WHEN account.id IS NULL AND (offers.round_bets_max[a.offer] = 0
                        OR a.stake_minor > offers.round_stakes_max_minor[a.offer]) THEN 11 END,
                    CASE WHEN account.id IS NULL THEN 12 END
                ), 0)
            END::smallint AS outcome
        FROM (
            SELECT u.*, offers.operator_ids[u.offer] AS operator_id
            FROM unnest(batch.offers, batch.transaction_ids, batch.fingerprints, batch.picks, batch.stakes_minor, player_references) WITH ORDINALITY
                AS u (offer, transaction_id, fingerprint, picks, stake_minor, player, ord)
        ) AS a
        LEFT JOIN LATERAL (
            SELECT b.fingerprint FROM bets AS b WHERE b.operator_id = a.operator_id AND b.transaction_id = a.transaction_id LIMIT 1
        ) AS earlier ON true
        LEFT JOIN LATERAL (
            SELECT r.target_id FROM rollbacks AS r WHERE r.operator_id = a.operator_id AND r.target_id = a.transaction_id LIMIT 1
        ) AS rolled_back ON true
        LEFT JOIN LATERAL (
            SELECT p.id, p.status, p.account_hash FROM players AS p WHERE p.operator_id = a.operator_id AND p.reference = a.player LIMIT 1
        ) AS player ON true
        LEFT JOIN LATERAL (
            SELECT held.id, held.round_bets_max, held.round_stake_max_minor FROM accounts AS held
            WHERE held.player_id = player.id AND held.currency = offers.currencies[a.offer] AND held.kind = 'player' LIMIT 1
        ) AS account ON true
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

-- Refuses, in the order of arrival, the bets that would pass their player's limits in the round or that the balances left by the bets before
-- them do not cover, and debits the others. An account that is held takes no bet of another connection: what has been bet is all there is.
-- The money or the limit may be gone because another connection placed the very bet while this one waited: then it is answered as that.
CREATE FUNCTION debit_bets_in_turn(batch bet_batch, offers bet_offers) RETURNS bet_batch
    LANGUAGE plpgsql AS $$
DECLARE
    hour_ms CONSTANT bigint := 3600000;
    bet record;
    account bigint;
    left_minor bigint;
    -- In which the rounds of the batch can have bets; one more at the beginning, in case the clock was set back.
    hours bigint[];
    -- What the account has bet in a round, by the place of the round's first offer; null until it was looked up.
    placed_count bigint[];
    placed_minor bigint[];
    before_count bigint;
    before_minor bigint;
    place integer;
    refused smallint;
    earlier bytea;
BEGIN
    PERFORM FROM accounts AS held
    WHERE held.id IN (SELECT a.account_id FROM unnest(batch.account_ids, batch.outcomes) AS a (account_id, outcome) WHERE a.outcome = 0)
    ORDER BY held.id FOR NO KEY UPDATE;
    SELECT array_agg(h.hour) INTO hours
    FROM (
        SELECT min(r.opened_ms) AS first_ms, max(r.lock_due_ms) AS last_ms FROM rounds AS r WHERE r.id = ANY (offers.round_ids) AND r.phase = 'open'
    ) AS sales
    CROSS JOIN LATERAL generate_series(sales.first_ms / hour_ms - 1, sales.last_ms / hour_ms) AS h (hour);
    -- Only the accounts that are limited or do not cover all of their bets: a poor player costs the others of the batch little.
    FOR bet IN
        SELECT a.*, held.balance_minor
        FROM (
            SELECT u.*, offers.round_ids[u.offer] AS round_id, sum(u.stake_minor) OVER (PARTITION BY u.account_id) AS due_minor,
                u.bets_max IS NOT NULL OR u.stakes_max_minor IS NOT NULL AS limited
            FROM unnest(batch.operator_ids, batch.transaction_ids, batch.fingerprints, batch.account_ids, batch.stakes_minor, batch.outcomes,
                batch.offers, batch.round_bets_max, batch.round_stakes_max_minor) WITH ORDINALITY
                AS u (operator_id, transaction_id, fingerprint, account_id, stake_minor, outcome, offer, bets_max, stakes_max_minor, ord)
            WHERE u.outcome = 0
        ) AS a
        CROSS JOIN LATERAL (SELECT h.balance_minor FROM accounts AS h WHERE h.id = a.account_id LIMIT 1) AS held
        WHERE a.limited OR a.due_minor > held.balance_minor ORDER BY a.account_id, a.ord
    LOOP
        IF bet.account_id IS DISTINCT FROM account THEN
            account := bet.account_id;
            left_minor := bet.balance_minor;
            placed_count := array_fill(NULL::bigint, ARRAY[coalesce(cardinality(offers.round_ids), 0)]);
            placed_minor := placed_count;
        END IF;
        place := array_position(offers.round_ids, bet.round_id);
        IF bet.limited AND placed_count[place] IS NULL THEN
            SELECT count(*), coalesce(sum(b.stake_minor), 0) INTO before_count, before_minor
            FROM bets AS b
            WHERE b.accepted_ms / 3600000 = ANY (hours) AND b.account_id = bet.account_id AND b.round_id = bet.round_id;
            placed_count[place] := before_count;
            placed_minor[place] := before_minor;
        END IF;
        refused := CASE
            WHEN bet.limited AND (placed_count[place] >= bet.bets_max
                OR placed_minor[place] + bet.stake_minor > bet.stakes_max_minor) THEN 11
            WHEN bet.stake_minor > left_minor THEN 12
            ELSE 0
        END;
        IF refused = 0 THEN
            left_minor := left_minor - bet.stake_minor;
            IF bet.limited THEN
                placed_count[place] := placed_count[place] + 1;
                placed_minor[place] := placed_minor[place] + bet.stake_minor;
            END IF;
        ELSE
            SELECT b.fingerprint INTO earlier FROM bets AS b WHERE b.operator_id = bet.operator_id AND b.transaction_id = bet.transaction_id;
            batch.outcomes[bet.ord] := CASE WHEN earlier = bet.fingerprint THEN 1 WHEN earlier IS NOT NULL THEN 2 ELSE refused END;
        END IF;
    END LOOP;
    IF NOT debit_covered_bets(batch) THEN
        RAISE EXCEPTION 'the accounts are held and cover what was left to them';
    END IF;
    RETURN batch;
END
$$;

-- Offers first, one element an offer in each array: it names its room (the round on sale is taken) or its round, the other is null; a null
-- paytable stands for the room's first. Then the bets, one element a bet: `offers` are places in the arrays before, from 1.
-- No (operator, transaction id) may stand twice in one call. A unique_violation means that another connection placed one of
-- them at the same time: call again, and it is found.
CREATE FUNCTION place_bets(
    operator_ids uuid[], room_ids uuid[], round_ids bigint[], currencies text[], paytable_hashes bytea[],
    offers integer[], transaction_ids text[], fingerprints bytea[], player_references text[], picks bytea[], stakes_minor bigint[]
) RETURNS TABLE (
    outcome smallint, bet_id bigint, round_id bigint, round_number bigint, room_id uuid, account_hash bytea, paytable_hash bytea,
    accepted_ms bigint
)
    LANGUAGE plpgsql
    -- A plan outlives the tables it was made for: one made while they were small would read them whole when they are not, and one made
    -- anew for each batch would cost as much as ten bets.
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
    -- The columns of the result share their names with those of the tables.
    AS $$
#variable_conflict use_column
DECLARE
    batch bet_batch;
    offered bet_offers;
    meant bigint[] := rounds_meant(room_ids, round_ids, now_ms());
    at_ms bigint;
BEGIN
    batch.offers := offers;
    batch.transaction_ids := transaction_ids;
    batch.fingerprints := fingerprints;
    batch.picks := picks;
    batch.stakes_minor := stakes_minor;

    -- Shared against the exclusive lock of lock_due_rounds(). What follows stands in statements of their own, whose snapshots are
    -- taken with the lock held: a round that reads as open here cannot be locked before this transaction has ended. A round that is not
    -- open never will be and needs no lock: callers who name a thousand of them do not fill up the lock table of the server.
    PERFORM pg_advisory_xact_lock_shared(r.id)
    FROM (SELECT round.id FROM rounds AS round WHERE round.id = ANY (meant) AND round.phase = 'open' ORDER BY 1) AS r;

    PERFORM hold_off_rollbacks(operator_ids);

    at_ms := now_ms();
    offered := judge_offers(operator_ids, room_ids, meant, currencies, paytable_hashes, at_ms);
    batch := judge_bets(batch, offered, player_references);
    IF batch.limited OR NOT debit_covered_bets(batch) THEN
        batch := debit_bets_in_turn(batch, offered);
    END IF;

    SELECT array_agg(CASE WHEN a.outcome = 0 THEN nextval('bets_id_seq') END) INTO batch.bet_ids FROM unnest(batch.outcomes) AS a (outcome);
    INSERT INTO bets (id, operator_id, round_id, account_id, stake_minor, accepted_ms, terms, picks, fingerprint, transaction_id)
    OVERRIDING SYSTEM VALUE
    SELECT a.id, a.operator_id, offered.round_ids[a.offer], a.account_id, a.stake_minor, at_ms, offered.terms[a.offer], a.picks, a.fingerprint,
        a.transaction_id
    FROM unnest(batch.bet_ids, batch.operator_ids, batch.offers, batch.account_ids, batch.stakes_minor, batch.picks, batch.fingerprints,
        batch.transaction_ids) AS a (id, operator_id, offer, account_id, stake_minor, picks, fingerprint, transaction_id)
    WHERE a.id IS NOT NULL
    -- In the order of their keys: two batches with the same ids wait for each other in the unique index, and never in a circle.
    ORDER BY a.operator_id, a.transaction_id COLLATE "C";

    RETURN QUERY
    SELECT a.outcome, coalesce(a.bet_id, earlier.id),
        CASE a.outcome WHEN 0 THEN offered.round_ids[a.offer] ELSE earlier.round_id END,
        CASE a.outcome WHEN 0 THEN offered.round_numbers[a.offer] ELSE earlier.number END,
        CASE a.outcome WHEN 0 THEN offered.room_ids[a.offer] ELSE earlier.room_id END,
        a.account_hash,
        CASE a.outcome WHEN 0 THEN offered.paytable_hashes[a.offer] ELSE earlier.paytable_hash END,
        coalesce(earlier.accepted_ms, at_ms)
    FROM unnest(batch.outcomes, batch.bet_ids, batch.offers, batch.account_hashes, batch.operator_ids, batch.transaction_ids) WITH ORDINALITY
        AS a (outcome, bet_id, offer, account_hash, operator_id, transaction_id, ord)
    LEFT JOIN LATERAL (
        SELECT b.id, b.accepted_ms, b.round_id, r.number, r.room_id, t.paytable_hash
        FROM bets AS b JOIN rounds AS r ON r.id = b.round_id JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = b.terms
        WHERE a.outcome = 1 AND b.operator_id = a.operator_id AND b.transaction_id = a.transaction_id LIMIT 1
    ) AS earlier ON true
    ORDER BY a.ord;
END
$$;

GRANT USAGE ON SEQUENCE bets_id_seq TO keno_app;

-- migrate: rollback
