-- Look-ups in bets that are planned when they are made.
-- depends: 0023_operator_rates

-- migrate: apply
-- A plan that is kept may have been made while a partition was empty: then every index was as good as any other, and reading the partition in
-- the order of its rounds as good as looking for one id. Until the statistics were renewed, which makes plans anew, a batch of bets that had to
-- be looked for read the partition from end to end for each of them.

-- The bets that stand under the ids at these places of a batch.
CREATE FUNCTION bets_named(batch bet_batch, places bigint[])
RETURNS TABLE (place bigint, id bigint, round_id bigint, fingerprint bytea, accepted_ms bigint, terms smallint)
    LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT a.place, earlier.*
    FROM unnest(batch.operator_ids, batch.transaction_ids) WITH ORDINALITY AS a (operator_id, transaction_id, place)
    CROSS JOIN LATERAL (
        SELECT b.id, b.round_id, b.fingerprint, b.accepted_ms, b.terms FROM bets AS b
        WHERE b.operator_id = a.operator_id AND b.transaction_id = a.transaction_id
            AND b.round_id >= batch.ids_since_round AND b.round_id < batch.ids_end_round LIMIT 1
    ) AS earlier
    WHERE a.place = ANY (places);
END
$$;

-- What stands under the ids at these places of a batch: bets, and with no fingerprint the rollbacks of ids that no bet has.
CREATE FUNCTION named_before(batch bet_batch, places bigint[]) RETURNS TABLE (place bigint, fingerprint bytea)
    LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT a.place, NULL::bytea
    FROM unnest(batch.operator_ids, batch.transaction_ids) WITH ORDINALITY AS a (operator_id, transaction_id, place)
    CROSS JOIN LATERAL (
        SELECT FROM rollbacks AS r WHERE r.operator_id = a.operator_id AND r.target_id = a.transaction_id LIMIT 1
    ) AS rolled_back
    WHERE a.place = ANY (places)
    UNION ALL
    SELECT earlier.place, earlier.fingerprint FROM bets_named(batch, places) AS earlier;
END
$$;

-- What these accounts have bet in these rounds, pair by pair.
CREATE FUNCTION placed_in_rounds(account_ids bigint[], round_ids bigint[], hours bigint[])
RETURNS TABLE (account_id bigint, round_id bigint, bets_count bigint, stakes_minor numeric)
    LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT s.account_id, s.round_id, placed.*
    FROM unnest(account_ids, round_ids) AS s (account_id, round_id)
    CROSS JOIN LATERAL (
        SELECT count(*), coalesce(sum(b.stake_minor), 0) FROM bets AS b
        WHERE b.accepted_ms / 3600000 = ANY (hours) AND b.account_id = s.account_id AND b.round_id = s.round_id
    ) AS placed;
END
$$;

-- Judges every bet by all but its balance and limits. What is wrong has a number, and the lowest is the answer. Ids are looked for where they are
-- suspect or the bet would be refused. The look-ups stand in subqueries with a limit, which the planner cannot turn into a scan of all.
CREATE OR REPLACE FUNCTION judge_bets(batch bet_batch, offers bet_offers, player_references text[]) RETURNS bet_batch
    LANGUAGE plpgsql STABLE AS $$
DECLARE
    looked_for bigint[];
    earlier record;
BEGIN
    SELECT array_agg(j.operator_id), array_agg(j.refusal), array_agg(j.account_id), array_agg(j.round_bets_max), array_agg(j.round_stake_max_minor)
    INTO batch.operator_ids, batch.outcomes, batch.account_ids, batch.round_bets_max, batch.round_stakes_max_minor
    FROM (
        SELECT a.operator_id, account.id AS account_id,
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
            ), 0)::smallint AS refusal
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
        ORDER BY a.ord
    ) AS j;
    SELECT array_agg(a.ord) INTO looked_for
    FROM unnest(batch.outcomes) WITH ORDINALITY AS a (outcome, ord) WHERE batch.ids_suspect OR a.outcome <> 0;
    IF looked_for IS NOT NULL THEN
        FOR earlier IN SELECT * FROM named_before(batch, looked_for) LOOP
            batch.outcomes[earlier.place] := CASE
                WHEN batch.outcomes[earlier.place] = 1 OR earlier.fingerprint = batch.fingerprints[earlier.place] THEN 1 ELSE 2
            END;
        END LOOP;
    END IF;
    SELECT coalesce(bool_or(a.outcome IN (0, 12) AND offers.exposures_max_minor[a.offer] IS NOT NULL
        OR a.outcome = 0 AND (a.bets_max IS NOT NULL OR a.stakes_max_minor IS NOT NULL)), false)
    INTO batch.limited
    FROM unnest(batch.outcomes, batch.offers, batch.round_bets_max, batch.round_stakes_max_minor) AS a (outcome, offer, bets_max, stakes_max_minor);
    RETURN batch;
END
$$;

-- Refuses, in the order of arrival, the bets that would pass a limit of their player in the round or of the round, or that the balances left by
-- the bets before them do not cover. An account that is held takes no bet of another connection: what has been bet is all there is.
-- The money or the limit may be gone because another connection placed the very bet while this one waited: then it is answered as that.
CREATE OR REPLACE FUNCTION refuse_in_turn(batch bet_batch, offers bet_offers) RETURNS bet_batch
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
    limited_accounts bigint[];
    limited_rounds bigint[];
    bet record;
    counter integer;
    win_minor bigint;
    refused smallint;
    refused_places bigint[];
BEGIN
    PERFORM FROM accounts AS held
    WHERE held.id IN (SELECT a.account_id FROM unnest(batch.account_ids, batch.outcomes) AS a (account_id, outcome) WHERE a.outcome = 0)
    ORDER BY held.id FOR NO KEY UPDATE;
    SELECT array_agg(h.hour) INTO hours
    FROM (
        SELECT min(r.opened_ms) AS first_ms, max(r.lock_due_ms) AS last_ms FROM rounds AS r WHERE r.id = ANY (offers.round_ids) AND r.phase = 'open'
    ) AS sales
    CROSS JOIN LATERAL generate_series(sales.first_ms / hour_ms - 1, sales.last_ms / hour_ms) AS h (hour);
    SELECT array_agg(s.account_id), array_agg(s.round_id) INTO limited_accounts, limited_rounds
    FROM (
        SELECT DISTINCT u.account_id, offers.round_ids[u.offer] AS round_id
        FROM unnest(batch.account_ids, batch.offers, batch.outcomes, batch.round_bets_max, batch.round_stakes_max_minor)
            AS u (account_id, offer, outcome, bets_max, stakes_max_minor)
        WHERE u.outcome = 0 AND (u.bets_max IS NOT NULL OR u.stakes_max_minor IS NOT NULL)
    ) AS s;
    -- Only the bets that are limited and those of accounts that do not cover all of theirs: a poor player costs the others of the batch little.
    FOR bet IN
        SELECT a.*, coalesce(held.balance_minor, 0) AS balance_minor, placed.bets_count AS placed_count, placed.stakes_minor AS placed_minor
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
        LEFT JOIN placed_in_rounds(limited_accounts, limited_rounds, hours) AS placed ON placed.account_id = a.account_id AND placed.round_id = a.round_id
        WHERE a.limited OR a.exposure_max_minor IS NOT NULL OR a.due_minor > held.balance_minor ORDER BY a.ord
    LOOP
        counter := offers.counters[bet.offer];
        win_minor := CASE WHEN bet.exposure_max_minor IS NOT NULL
            THEN win_max_minor(bet.picks, bet.stake_minor, offers.paytable_hashes[bet.offer], offers.wins_max_minor[bet.offer]) ELSE 0 END;
        left_minor[bet.account] := coalesce(left_minor[bet.account], bet.balance_minor);
        IF placed_count[bet.sale] IS NULL THEN
            placed_count[bet.sale] := bet.placed_count;
            placed_minor[bet.sale] := bet.placed_minor;
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
            batch.outcomes[bet.ord] := refused;
            refused_places := refused_places || bet.ord;
        END IF;
    END LOOP;
    IF refused_places IS NOT NULL THEN
        FOR bet IN SELECT * FROM bets_named(batch, refused_places) LOOP
            batch.outcomes[bet.place] := CASE WHEN bet.fingerprint = batch.fingerprints[bet.place] THEN 1 ELSE 2 END;
        END LOOP;
    END IF;
    UPDATE round_exposures AS e SET exposure_minor = o.exposure_minor
    FROM unnest(offers.round_ids, offers.operator_ids, offers.currencies, offers.changes_counts, offers.counters, exposures_minor) WITH ORDINALITY
        AS o (round_id, operator_id, currency, changes, counter, exposure_minor, ord)
    WHERE o.ord = o.counter AND (e.round_id, e.operator_id, e.currency, e.changes_count) = (o.round_id, o.operator_id, o.currency, o.changes);
    RETURN batch;
END
$$;

CREATE OR REPLACE FUNCTION place_bets(
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
    duplicates bigint[];
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

    SELECT array_agg(a.ord) INTO duplicates FROM unnest(batch.outcomes) WITH ORDINALITY AS a (outcome, ord) WHERE a.outcome = 1;
    IF duplicates IS NULL THEN
        RETURN QUERY
        SELECT a.outcome, a.bet_id, CASE a.outcome WHEN 0 THEN offered.round_ids[a.offer] END,
            CASE a.outcome WHEN 0 THEN offered.round_numbers[a.offer] END, CASE a.outcome WHEN 0 THEN offered.room_ids[a.offer] END,
            CASE a.outcome WHEN 0 THEN offered.paytable_hashes[a.offer] END, at_ms
        FROM unnest(batch.outcomes, batch.bet_ids, batch.offers) WITH ORDINALITY AS a (outcome, bet_id, offer, ord) ORDER BY a.ord;
    ELSE
        RETURN QUERY
        SELECT a.outcome, coalesce(a.bet_id, earlier.id),
            CASE a.outcome WHEN 0 THEN offered.round_ids[a.offer] ELSE earlier.round_id END,
            CASE a.outcome WHEN 0 THEN offered.round_numbers[a.offer] ELSE r.number END,
            CASE a.outcome WHEN 0 THEN offered.room_ids[a.offer] ELSE r.room_id END,
            CASE a.outcome WHEN 0 THEN offered.paytable_hashes[a.offer] ELSE t.paytable_hash END,
            coalesce(earlier.accepted_ms, at_ms)
        FROM unnest(batch.outcomes, batch.bet_ids, batch.offers) WITH ORDINALITY AS a (outcome, bet_id, offer, ord)
        LEFT JOIN bets_named(batch, duplicates) AS earlier ON earlier.place = a.ord
        LEFT JOIN rounds AS r ON r.id = earlier.round_id
        LEFT JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = earlier.terms
        ORDER BY a.ord;
    END IF;
END
$$;

-- migrate: rollback
