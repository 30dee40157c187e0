-- Acceptance with one look-up a bet where nothing is out of the ordinary, and the limit of a round's exposure.
-- depends: 0013_accounts_and_limits

-- migrate: apply
DROP FUNCTION place_bets, judge_bets, judge_offers, debit_covered_bets, debit_bets_in_turn;
DROP TYPE bet_batch, bet_offers;

-- What bets of a batch can have in common: an operator's room or round, a currency and a paytable. Element i of each array is of offer i.
-- The outcomes are those of keno/bets/outcome.py, here by what does not differ between its bets; where it is not 0, the rest may be empty.
CREATE TYPE bet_offers AS (
    operator_ids uuid[], currencies text[], outcomes smallint[], round_ids bigint[], terms smallint[], stakes_min_minor bigint[],
    stakes_max_minor bigint[], stake_steps_minor bigint[], round_numbers bigint[], room_ids uuid[], paytable_hashes bytea[],
    round_bets_max integer[], round_stakes_max_minor bigint[], wins_max_minor bigint[],
    -- Null where the exposure is not limited. `counters` has the first offer of the same round, operator and currency, whose exposure it is.
    exposures_max_minor bigint[], changes_counts integer[], counters integer[]
);

-- A batch on its way through place_bets(): element i of each array is of bet i; `offers` has the place of its offer.
CREATE TYPE bet_batch AS (
    offers integer[], operator_ids uuid[], transaction_ids text[], fingerprints bytea[], picks bytea[], stakes_minor bigint[],
    outcomes smallint[], account_ids bigint[], bet_ids bigint[], round_bets_max integer[], round_stakes_max_minor bigint[],
    -- Whether a limit needs the bets to be taken one after the other.
    limited boolean,
    -- Whether each id must be looked for, and in bets of which rounds.
    ids_suspect boolean, ids_since_round bigint, ids_end_round bigint
);

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
        array_agg(j.round_bets_max ORDER BY j.ord), array_agg(j.round_stake_max_minor ORDER BY j.ord), array_agg(j.win_max_minor ORDER BY j.ord),
        array_agg(j.round_exposure_max_minor ORDER BY j.ord), array_agg(j.changes_count ORDER BY j.ord), array_agg(j.counter ORDER BY j.ord)
    INTO offers
    FROM (
        SELECT a.ord, round.id AS round_id, round.number AS round_number, room.id AS room_id, offered.paytable_hash,
            limits.stake_min_minor, limits.stake_max_minor, limits.stake_step_minor, limits.win_max_minor,
            own.round_bets_max, own.round_stake_max_minor, own.round_exposure_max_minor, own.changes_count,
            (min(a.ord) OVER (PARTITION BY round.id, a.operator_id, a.currency))::integer AS counter,
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

-- Where the ids of a batch must be looked for. In the partition that takes its bets the unique index finds an id that is there already, at the
-- end and for nothing. Ids that may be in another partition as well, or in a rollback, are suspect. Adds to the bounds.
CREATE FUNCTION bound_ids(batch bet_batch, offers bet_offers) RETURNS bet_batch
    LANGUAGE plpgsql AS $$
DECLARE
    ids record;
    sold_firsts bigint[];
    highest_first bigint;
BEGIN
    SELECT array_agg(p.first_round ORDER BY p.first_round) INTO sold_firsts
    FROM (
        SELECT min(o.round_id) AS lowest, max(o.round_id) AS highest FROM unnest(offers.round_ids, offers.outcomes) AS o (round_id, outcome) WHERE o.outcome = 0
    ) AS sold
    JOIN bet_partitions AS p ON p.first_round <= sold.highest AND p.end_round > sold.lowest;
    SELECT array_agg(g.operator_id) AS operators, array_agg(g.lowest) AS lowest, array_agg(g.highest) AS highest,
        array_agg(g.lowest_beginning) AS lowest_beginnings, array_agg(g.highest_beginning) AS highest_beginnings
    INTO ids
    FROM (
        SELECT u.operator_id, min(u.id) AS lowest, max(u.id) AS highest, min(u.beginning) AS lowest_beginning, max(u.beginning) AS highest_beginning
        FROM (
            SELECT offers.operator_ids[a.offer] AS operator_id, a.id COLLATE "C" AS id, id_beginning(a.id) COLLATE "C" AS beginning
            FROM unnest(batch.offers, batch.transaction_ids) AS a (offer, id)
        ) AS u GROUP BY u.operator_id
    ) AS g;
    SELECT least(min(b.lowest), sold_firsts[1]), max(b.highest) INTO batch.ids_since_round, highest_first
    FROM unnest(ids.operators, ids.lowest_beginnings) AS r (operator_id, beginning)
    CROSS JOIN LATERAL (
        -- As sums, so that no index by partition seems good for the least of them.
        SELECT min(k.first_round + 0) AS lowest, max(k.first_round + 0) AS highest
        FROM bet_id_bounds AS k WHERE k.operator_id = r.operator_id AND k.ids_to >= r.beginning
    ) AS b;
    -- Partitions beyond, which are made ahead, are not even opened.
    SELECT coalesce(max(p.end_round), 9223372036854775807) INTO batch.ids_end_round
    FROM bet_partitions AS p WHERE p.first_round = greatest(highest_first, sold_firsts[cardinality(sold_firsts)]);
    batch.ids_suspect := batch.ids_since_round < sold_firsts[1] OR highest_first > sold_firsts[1] OR cardinality(sold_firsts) > 1 OR EXISTS (
        SELECT FROM unnest(ids.operators, ids.lowest, ids.highest) AS r (operator_id, lowest, highest)
        CROSS JOIN LATERAL (
            SELECT FROM rollbacks AS b WHERE b.operator_id = r.operator_id AND b.target_id BETWEEN r.lowest AND r.highest LIMIT 1
        ) AS named);
    INSERT INTO bet_id_bounds (operator_id, ids_to, first_round)
    SELECT r.operator_id, r.beginning, p.first_round
    FROM unnest(ids.operators, ids.highest_beginnings) AS r (operator_id, beginning) CROSS JOIN unnest(sold_firsts) AS p (first_round)
    LEFT JOIN LATERAL (
        SELECT true AS is_known FROM bet_id_bounds AS k
        WHERE k.operator_id = r.operator_id AND k.ids_to >= r.beginning AND k.first_round = p.first_round LIMIT 1
    ) AS bound ON true
    WHERE bound.is_known IS NULL;
    RETURN batch;
END
$$;

-- Judges every bet by all but its balance and limits. What is wrong has a number, and the lowest is the answer. Ids are looked for where they are
-- suspect or the bet would be refused. The look-ups stand in subqueries with a limit, which the planner cannot turn into a scan of all.
CREATE FUNCTION judge_bets(batch bet_batch, offers bet_offers, player_references text[]) RETURNS bet_batch
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    SELECT array_agg(j.operator_id), array_agg(j.outcome), array_agg(j.account_id), array_agg(j.round_bets_max),
        array_agg(j.round_stake_max_minor),
        coalesce(bool_or(j.outcome IN (0, 12) AND j.exposed OR j.outcome = 0 AND (j.round_bets_max IS NOT NULL OR j.round_stake_max_minor IS NOT NULL)), false)
    INTO batch.operator_ids, batch.outcomes, batch.account_ids, batch.round_bets_max, batch.round_stakes_max_minor,
        batch.limited
    FROM (
        SELECT f.operator_id, f.account_id, f.round_bets_max, f.round_stake_max_minor, f.exposed,
            CASE
                WHEN earlier.fingerprint = f.fingerprint THEN 1
                WHEN earlier.fingerprint IS NOT NULL OR rolled_back.target_id IS NOT NULL THEN 2
                ELSE f.refusal
            END::smallint AS outcome
        FROM (
            SELECT a.ord, a.operator_id, a.transaction_id, a.fingerprint, account.id AS account_id,
                offers.exposures_max_minor[a.offer] IS NOT NULL AS exposed,
                least(account.round_bets_max, offers.round_bets_max[a.offer]) AS round_bets_max,
                least(account.round_stake_max_minor, offers.round_stakes_max_minor[a.offer]) AS round_stake_max_minor,
                coalesce(least(
                    nullif(offers.outcomes[a.offer], 0),
                    CASE WHEN length(a.picks) <> 10 OR bit_count(a.picks) NOT BETWEEN 1 AND 10 THEN 6 END,
                    CASE WHEN a.stake_minor NOT BETWEEN offers.stakes_min_minor[a.offer] AND offers.stakes_max_minor[a.offer]
                        OR a.stake_minor % offers.stake_steps_minor[a.offer] <> 0 THEN 8 END,
                    CASE WHEN account.id IS NOT NULL THEN CASE WHEN account.blocked THEN 10 END
                        WHEN EXISTS (SELECT FROM players AS p
                            WHERE p.operator_id = a.operator_id AND p.reference = a.player AND p.status = 'blocked') THEN 10
                        WHEN offers.round_bets_max[a.offer] = 0 OR a.stake_minor > offers.round_stakes_max_minor[a.offer] THEN 11
                        ELSE 12
                    END
                ), 0) AS refusal
            FROM (
                SELECT u.*, offers.operator_ids[u.offer] AS operator_id
                FROM unnest(batch.offers, batch.transaction_ids, batch.fingerprints, batch.picks, batch.stakes_minor, player_references)
                    WITH ORDINALITY AS u (offer, transaction_id, fingerprint, picks, stake_minor, player, ord)
            ) AS a
            LEFT JOIN LATERAL (
                SELECT held.id, held.blocked, held.round_bets_max, held.round_stake_max_minor FROM accounts AS held
                WHERE held.operator_id = a.operator_id AND held.player_reference = a.player AND held.currency = offers.currencies[a.offer]
                    AND held.kind = 'player' LIMIT 1
            ) AS account ON true
            OFFSET 0
        ) AS f
        LEFT JOIN LATERAL (
            SELECT b.fingerprint FROM bets AS b
            WHERE (batch.ids_suspect OR f.refusal <> 0) AND b.operator_id = f.operator_id AND b.transaction_id = f.transaction_id
                AND b.round_id >= batch.ids_since_round AND b.round_id < batch.ids_end_round LIMIT 1
        ) AS earlier ON true
        LEFT JOIN LATERAL (
            SELECT r.target_id FROM rollbacks AS r
            WHERE (batch.ids_suspect OR f.refusal <> 0) AND r.operator_id = f.operator_id AND r.target_id = f.transaction_id LIMIT 1
        ) AS rolled_back ON true
        ORDER BY f.ord
    ) AS j;
    RETURN batch;
END
$$;

-- The exposures that limit these offers, each at the place of its counter. They are held until the transaction ends; null where none does.
CREATE FUNCTION hold_exposures(offers bet_offers) RETURNS bigint[]
    LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT count(m) FROM unnest(offers.exposures_max_minor) AS m) = 0 THEN
        RETURN NULL;
    END IF;
    INSERT INTO round_exposures (round_id, operator_id, currency, changes_count, exposure_minor)
    SELECT k.*, round_exposure(k.round_id, k.operator_id, k.currency)
    FROM (
        SELECT DISTINCT o.round_id, o.operator_id, o.currency, o.changes
        FROM unnest(offers.round_ids, offers.operator_ids, offers.currencies, offers.changes_counts, offers.exposures_max_minor, offers.outcomes)
            AS o (round_id, operator_id, currency, changes, exposure_max_minor, outcome)
        WHERE o.outcome = 0 AND o.exposure_max_minor IS NOT NULL ORDER BY 1, 2, 3
    ) AS k
    WHERE NOT EXISTS (SELECT FROM round_exposures AS e
        WHERE (e.round_id, e.operator_id, e.currency, e.changes_count) = (k.round_id, k.operator_id, k.currency, k.changes))
    ON CONFLICT DO NOTHING;
    PERFORM FROM round_exposures AS e
    JOIN unnest(offers.round_ids, offers.operator_ids, offers.currencies, offers.changes_counts) AS o (round_id, operator_id, currency, changes)
        ON (e.round_id, e.operator_id, e.currency, e.changes_count) = (o.round_id, o.operator_id, o.currency, o.changes)
    ORDER BY e.round_id, e.operator_id, e.currency FOR NO KEY UPDATE OF e;
    RETURN array_agg(e.exposure_minor ORDER BY o.ord)
    FROM unnest(offers.round_ids, offers.operator_ids, offers.currencies, offers.changes_counts) WITH ORDINALITY
        AS o (round_id, operator_id, currency, changes, ord)
    LEFT JOIN round_exposures AS e ON (e.round_id, e.operator_id, e.currency, e.changes_count) = (o.round_id, o.operator_id, o.currency, o.changes);
END
$$;

-- Refuses, in the order of arrival, the bets that would pass a limit of their player in the round or of the round, or that the balances left by
-- the bets before them do not cover. An account that is held takes no bet of another connection: what has been bet is all there is.
-- The money or the limit may be gone because another connection placed the very bet while this one waited: then it is answered as that.
CREATE FUNCTION refuse_in_turn(batch bet_batch, offers bet_offers) RETURNS bet_batch
    LANGUAGE plpgsql AS $$
DECLARE
    hour_ms CONSTANT bigint := 3600000;
    nothing CONSTANT bigint[] := array_fill(NULL::bigint, ARRAY[cardinality(batch.outcomes)]);
    -- In which the rounds of the batch can have bets; one more at the beginning, in case the clock was set back.
    hours bigint[];
    exposures_minor bigint[] := hold_exposures(offers);
    -- What is left to an account, and what it has bet in a round, by their places in the batch; null until it was looked up.
    left_minor bigint[] := nothing;
    placed_count bigint[] := nothing;
    placed_minor bigint[] := nothing;
    before_count bigint;
    before_minor bigint;
    bet record;
    counter integer;
    win_minor bigint;
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
    -- Only the bets that are limited and those of accounts that do not cover all of theirs: a poor player costs the others of the batch little.
    FOR bet IN
        SELECT a.*, coalesce(held.balance_minor, 0) AS balance_minor
        FROM (
            SELECT u.*, offers.round_ids[u.offer] AS round_id, offers.exposures_max_minor[u.offer] AS exposure_max_minor,
                sum(u.stake_minor) OVER (PARTITION BY u.account_id) AS due_minor, u.bets_max IS NOT NULL OR u.stakes_max_minor IS NOT NULL AS limited,
                dense_rank() OVER (ORDER BY u.account_id) AS account, dense_rank() OVER (ORDER BY u.account_id, offers.round_ids[u.offer]) AS sale
            FROM unnest(batch.operator_ids, batch.transaction_ids, batch.fingerprints, batch.account_ids, batch.stakes_minor, batch.outcomes,
                batch.offers, batch.picks, batch.round_bets_max, batch.round_stakes_max_minor) WITH ORDINALITY
                AS u (operator_id, transaction_id, fingerprint, account_id, stake_minor, outcome, offer, picks, bets_max, stakes_max_minor, ord)
            WHERE u.outcome = 0 OR u.outcome = 12 AND offers.exposures_max_minor[u.offer] IS NOT NULL
        ) AS a
        LEFT JOIN LATERAL (SELECT h.balance_minor FROM accounts AS h WHERE h.id = a.account_id LIMIT 1) AS held ON true
        WHERE a.limited OR a.exposure_max_minor IS NOT NULL OR a.due_minor > held.balance_minor ORDER BY a.ord
    LOOP
        counter := offers.counters[bet.offer];
        win_minor := CASE WHEN bet.exposure_max_minor IS NOT NULL
            THEN win_max_minor(bet.picks, bet.stake_minor, offers.paytable_hashes[bet.offer], offers.wins_max_minor[bet.offer]) ELSE 0 END;
        left_minor[bet.account] := coalesce(left_minor[bet.account], bet.balance_minor);
        IF bet.limited AND placed_count[bet.sale] IS NULL THEN
            SELECT count(*), coalesce(sum(b.stake_minor), 0) INTO before_count, before_minor
            FROM bets AS b
            WHERE b.accepted_ms / 3600000 = ANY (hours) AND b.account_id = bet.account_id AND b.round_id = bet.round_id;
            placed_count[bet.sale] := before_count;
            placed_minor[bet.sale] := before_minor;
        END IF;
        refused := CASE
            WHEN bet.limited AND (placed_count[bet.sale] >= bet.bets_max OR placed_minor[bet.sale] + bet.stake_minor > bet.stakes_max_minor)
                OR exposures_minor[counter] + win_minor > bet.exposure_max_minor THEN 11
            WHEN bet.stake_minor > left_minor[bet.account] THEN 12
            ELSE 0
        END;
        IF refused = 0 THEN
            left_minor[bet.account] := left_minor[bet.account] - bet.stake_minor;
            placed_count[bet.sale] := placed_count[bet.sale] + 1;
            placed_minor[bet.sale] := placed_minor[bet.sale] + bet.stake_minor;
            exposures_minor[counter] := exposures_minor[counter] + win_minor;
        ELSE
            SELECT b.fingerprint INTO earlier FROM bets AS b
            WHERE b.operator_id = bet.operator_id AND b.transaction_id = bet.transaction_id AND b.round_id >= batch.ids_since_round
                AND b.round_id < batch.ids_end_round;
            batch.outcomes[bet.ord] := CASE WHEN earlier = bet.fingerprint THEN 1 WHEN earlier IS NOT NULL THEN 2 ELSE refused END;
        END IF;
    END LOOP;
    UPDATE round_exposures AS e SET exposure_minor = o.exposure_minor
    FROM unnest(offers.round_ids, offers.operator_ids, offers.currencies, offers.changes_counts, offers.counters, exposures_minor) WITH ORDINALITY
        AS o (round_id, operator_id, currency, changes, counter, exposure_minor, ord)
    WHERE o.ord = o.counter AND (e.round_id, e.operator_id, e.currency, e.changes_count) = (o.round_id, o.operator_id, o.currency, o.changes);
    RETURN batch;
END
$$;

-- Debits the accepted bets, stores them and returns their ids. Raises KN001 where an account does not cover all of its bets.
CREATE FUNCTION write_bets(batch bet_batch, offers bet_offers, at_ms bigint) RETURNS bigint[]
    LANGUAGE plpgsql
    -- Accounts must be met in the order of their ids, or two batches could wait for each other: so a nested loop over the sorted sums.
    SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
DECLARE
    due_count bigint;
    debited_count bigint;
BEGIN
    WITH accepted AS MATERIALIZED (
        SELECT u.*, CASE WHEN u.outcome = 0 THEN nextval('bets_id_seq') END AS id
        FROM unnest(batch.operator_ids, batch.offers, batch.account_ids, batch.stakes_minor, batch.picks, batch.fingerprints, batch.transaction_ids,
            batch.outcomes) AS u (operator_id, offer, account_id, stake_minor, picks, fingerprint, transaction_id, outcome)
    ), due AS MATERIALIZED (
        SELECT a.account_id, sum(a.stake_minor)::bigint AS minor FROM accepted AS a WHERE a.outcome = 0 GROUP BY a.account_id ORDER BY a.account_id
    ), debited AS (
        UPDATE accounts AS held SET balance_minor = held.balance_minor - due.minor
        FROM due WHERE held.id = due.account_id AND held.balance_minor >= due.minor RETURNING 1
    ), placed AS (
        INSERT INTO bets (id, operator_id, round_id, account_id, stake_minor, accepted_ms, terms, picks, fingerprint, transaction_id)
        OVERRIDING SYSTEM VALUE
        SELECT a.id, a.operator_id, offers.round_ids[a.offer], a.account_id, a.stake_minor, at_ms, offers.terms[a.offer], a.picks, a.fingerprint,
            a.transaction_id
        FROM accepted AS a
        -- The counts are known once all accounts are held: bets come after accounts here and everywhere.
        WHERE a.outcome = 0 AND (SELECT count(*) FROM debited) = (SELECT count(*) FROM due)
        -- In the order of their keys: two batches with the same ids wait for each other in the unique index, and never in a circle.
        ORDER BY a.operator_id, a.transaction_id COLLATE "C"
    )
    SELECT array_agg(a.id), (SELECT count(*) FROM due), (SELECT count(*) FROM debited) INTO batch.bet_ids, due_count, debited_count FROM accepted AS a;
    IF debited_count < due_count THEN
        RAISE EXCEPTION 'not every account covers its bets' USING ERRCODE = 'KN001';
    END IF;
    RETURN batch.bet_ids;
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
    outcome smallint, bet_id bigint, round_id bigint, round_number bigint, room_id uuid, paytable_hash bytea, accepted_ms bigint
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
    written boolean := false;
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
    batch := bound_ids(batch, offered);
    batch := judge_bets(batch, offered, player_references);
    IF NOT batch.limited THEN
        BEGIN
            batch.bet_ids := write_bets(batch, offered, at_ms);
            written := true;
        EXCEPTION WHEN unique_violation OR SQLSTATE 'KN001' THEN
            NULL; -- nothing has been written; what was in the way is found now
        END;
    END IF;
    IF NOT written THEN
        batch.ids_suspect := true;
        batch := judge_bets(batch, offered, player_references);
        batch := refuse_in_turn(batch, offered);
        batch.bet_ids := write_bets(batch, offered, at_ms);
    END IF;

    RETURN QUERY
    SELECT a.outcome, coalesce(a.bet_id, earlier.id),
        CASE a.outcome WHEN 0 THEN offered.round_ids[a.offer] ELSE earlier.round_id END,
        CASE a.outcome WHEN 0 THEN offered.round_numbers[a.offer] ELSE earlier.number END,
        CASE a.outcome WHEN 0 THEN offered.room_ids[a.offer] ELSE earlier.room_id END,
        CASE a.outcome WHEN 0 THEN offered.paytable_hashes[a.offer] ELSE earlier.paytable_hash END,
        coalesce(earlier.accepted_ms, at_ms)
    FROM unnest(batch.outcomes, batch.bet_ids, batch.offers, batch.operator_ids, batch.transaction_ids) WITH ORDINALITY
        AS a (outcome, bet_id, offer, operator_id, transaction_id, ord)
    LEFT JOIN LATERAL (
        SELECT b.id, b.accepted_ms, b.round_id, r.number, r.room_id, t.paytable_hash
        FROM bets AS b JOIN rounds AS r ON r.id = b.round_id JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = b.terms
        WHERE a.outcome = 1 AND b.operator_id = a.operator_id AND b.transaction_id = a.transaction_id AND b.round_id >= batch.ids_since_round
            AND b.round_id < batch.ids_end_round LIMIT 1
    ) AS earlier ON true
    ORDER BY a.ord;
END
$$;

-- migrate: rollback
