-- Acceptance with less work a call: fewer statements, arrays taken apart where they are read, and an answer of arrays.
-- depends: 0039_empty_rounds

-- migrate: apply
-- Each debit checked again what an account is, with a regular expression among it, and a check is read from its text in every statement. What an
-- account is never changes: so it is checked once, when it is opened, and a statement that would change it is refused.
ALTER TABLE accounts DROP CONSTRAINT accounts_kind_check, DROP CONSTRAINT accounts_currency_check, DROP CONSTRAINT accounts_check,
    DROP CONSTRAINT accounts_check2;
CREATE FUNCTION refuse_account() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        RAISE EXCEPTION 'no account of kind % and currency % can be opened for player % (%)', NEW.kind, NEW.currency, NEW.player_id,
            NEW.player_reference USING ERRCODE = 'check_violation';
    END IF;
    RAISE EXCEPTION 'what an account was opened as is immutable' USING ERRCODE = 'integrity_constraint_violation';
END
$$;
-- By name after copy_player, which sets the reference.
CREATE TRIGGER refuse_account BEFORE INSERT ON accounts FOR EACH ROW WHEN ((
    NEW.kind IN ('player', 'house', 'cash') AND NEW.currency ~ '^[A-Z0-9]{3,8}$'
    AND (NEW.kind = 'player') = (NEW.player_id IS NOT NULL) AND (NEW.player_id IS NULL) = (NEW.player_reference IS NULL)
) IS NOT TRUE) EXECUTE FUNCTION refuse_account();
CREATE TRIGGER refuse_change BEFORE UPDATE OF id, operator_id, kind, player_id, currency, player_reference ON accounts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_account();

-- Most of what a batch of few bets costs is the start of its statements, by what stands in them: so these have fewer sorts, aggregates and
-- function scans. An array is unnested in the list of a SELECT, which hands on element by element; in FROM each would first fill a table of its own.
-- Such a list, and a nested loop over it, keep the order of the arrays.

-- The round of each offer: the one it names, or the one on sale in the room it names; null where there is none.
CREATE OR REPLACE FUNCTION rounds_meant(room_ids uuid[], round_ids bigint[], at_ms bigint) RETURNS bigint[]
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN array_agg(
        CASE WHEN a.round_id IS NOT NULL THEN (SELECT r.id FROM rounds AS r WHERE r.id = a.round_id)
        ELSE (
            SELECT r.id FROM rounds AS r
            WHERE r.room_id = a.room_id AND r.ended_ms IS NULL AND r.phase = 'open' AND r.lock_due_ms > at_ms ORDER BY r.number LIMIT 1
        ) END)
    FROM (SELECT unnest(room_ids) AS room_id, unnest(round_ids) AS round_id) AS a;
END
$$;

-- True for five minutes from the first round of a partition, and so while rounds of the one before may be on sale. The first partition of all
-- is new to nobody.
CREATE OR REPLACE FUNCTION partition_is_new() RETURNS boolean
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM (
            SELECT max(p.first_round) AS first_round, count(*) AS begun_count FROM bet_partitions AS p
            WHERE p.first_round <= (SELECT max(r.id) FROM rounds AS r)
        ) AS newest
        CROSS JOIN LATERAL (SELECT r.opened_ms FROM rounds AS r WHERE r.id >= newest.first_round ORDER BY r.id LIMIT 1) AS begun
        WHERE newest.begun_count > 1 AND begun.opened_ms > now_ms() - 300000
    );
END
$$;

-- Shared against the exclusive lock of roll_back(): what an id names is looked up after this, and no rollback of an id without a
-- bet commits between the look and the bet. Called by place_bets() in a statement of its own before the bets are judged.
-- No index keeps an id from being placed in two partitions at the same instant: so while a partition is new an operator's batches
-- take turns, and the second finds what the first has placed.
CREATE OR REPLACE FUNCTION hold_off_rollbacks(operator_ids uuid[]) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    in_turn CONSTANT boolean := partition_is_new();
BEGIN
    PERFORM CASE WHEN in_turn THEN pg_advisory_xact_lock(7305, o.key) ELSE pg_advisory_xact_lock_shared(7305, o.key) END
    FROM (SELECT DISTINCT hashtext(u.id::text) AS key FROM (SELECT unnest(operator_ids) AS id) AS u ORDER BY 1) AS o;
END
$$;

-- Judges the offers. The tests stand in the order of the outcomes' numbers, and the first that applies is the answer.
CREATE OR REPLACE FUNCTION judge_offers(
    p_operator_ids uuid[], p_room_ids uuid[], p_round_ids bigint[], p_currencies text[], p_paytable_hashes bytea[], at_ms bigint
) RETURNS bet_offers
    LANGUAGE plpgsql STABLE
    -- Of few offers, as most batches have, hash tables would cost more than what is looked up.
    SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
DECLARE
    offers bet_offers;
BEGIN
    SELECT p_operator_ids, p_currencies, array_agg(j.outcome), array_agg(j.round_id), array_agg(j.terms), array_agg(j.stake_min_minor),
        array_agg(j.stake_max_minor), array_agg(j.stake_step_minor), array_agg(j.round_number), array_agg(j.room_id), array_agg(j.paytable_hash),
        array_agg(j.round_bets_max), array_agg(j.round_stake_max_minor), array_agg(j.win_max_minor), array_agg(j.round_exposure_max_minor),
        array_agg(j.changes_count)
    INTO offers
    FROM (
        SELECT round.id AS round_id, round.number AS round_number, room.id AS room_id, offered.paytable_hash,
            limits.stake_min_minor, limits.stake_max_minor, limits.stake_step_minor, limits.win_max_minor,
            own.round_bets_max, own.round_stake_max_minor, own.round_exposure_max_minor, own.changes_count,
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
        FROM (
            SELECT unnest(p_operator_ids) AS operator_id, unnest(p_room_ids) AS room_id, unnest(p_round_ids) AS round_id,
                unnest(p_currencies) AS currency, unnest(p_paytable_hashes) AS paytable_hash, generate_subscripts(p_operator_ids, 1) AS ord
        ) AS a
        LEFT JOIN rounds AS round ON round.id = a.round_id
        LEFT JOIN rooms AS room ON room.id = coalesce(round.room_id, a.room_id)
        LEFT JOIN rules_currencies AS limits ON limits.rules_hash = round.rules_hash AND limits.currency = a.currency
        LEFT JOIN rules_paytables AS offered ON offered.rules_hash = round.rules_hash
            AND CASE WHEN a.paytable_hash IS NULL THEN offered.position = 0 ELSE offered.paytable_hash = a.paytable_hash END
        LEFT JOIN accounts AS house ON house.operator_id = a.operator_id AND house.currency = a.currency AND house.kind = 'house'
        LEFT JOIN operator_limits AS own ON own.operator_id = a.operator_id AND own.currency = a.currency
        ORDER BY a.ord
    ) AS j;
    RETURN offers;
END
$$;

-- The first offer of the same round, operator and currency of each: whose counter its exposure is. Only refuse_in_turn() asks.
CREATE FUNCTION counters_of(offers bet_offers) RETURNS integer[]
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN array_agg(o.counter ORDER BY o.ord)
    FROM (
        SELECT u.ord, (min(u.ord) OVER (PARTITION BY u.round_id, u.operator_id, u.currency))::integer AS counter
        FROM unnest(offers.round_ids, offers.operator_ids, offers.currencies) WITH ORDINALITY AS u (round_id, operator_id, currency, ord)
    ) AS o;
END
$$;

-- Where the ids of a batch must be looked for. In the partition that takes its bets the unique index finds an id that is there already, at the
-- end and for nothing. Ids that may be in another partition as well, or in a rollback, are suspect. Adds to the bounds.
-- A bound is what ids begin with: half of an id, at most seven characters. Of a UUIDv7 that is a span of 17 minutes, of a ULID 32 seconds. Where ids
-- differ in length, the lowest is cut as the shortest is and the highest as the longest is: then no id begins with less or with more.
DROP FUNCTION id_beginning;
CREATE OR REPLACE FUNCTION bound_ids(batch bet_batch, offers bet_offers) RETURNS bet_batch
    LANGUAGE plpgsql AS $$
DECLARE
    -- The first and the last partition on sale, and the last that has bets to look through.
    sold_first bigint;
    sold_last bigint;
    highest_first bigint;
    operators uuid[];
    beginnings text[];
    unbounded boolean;
    rolled_back boolean;
BEGIN
    SELECT min(p.first_round), max(p.first_round), max(p.end_round) INTO sold_first, sold_last, batch.ids_end_round
    FROM (
        SELECT min(o.round_id) AS lowest, max(o.round_id) AS highest
        FROM (SELECT unnest(offers.round_ids) AS round_id, unnest(offers.outcomes) AS outcome) AS o WHERE o.outcome = 0
    ) AS sold
    JOIN bet_partitions AS p ON p.first_round <= sold.highest AND p.end_round > sold.lowest;
    SELECT least(min(b.lowest), sold_first), max(b.highest), array_agg(g.operator_id), array_agg(g.ids_to), bool_or(b.known IS NOT TRUE),
        -- In the order of what is asked for, so that no index by another column seems as good while there are no rollbacks.
        bool_or((
            SELECT true FROM rollbacks AS r WHERE r.operator_id = g.operator_id AND r.target_id BETWEEN g.lowest AND g.highest
            ORDER BY r.target_id LIMIT 1
        ))
    INTO batch.ids_since_round, highest_first, operators, beginnings, unbounded, rolled_back
    FROM (
        SELECT u.operator_id, min(u.id) AS lowest, max(u.id) AS highest, left(min(u.id), least(min(length(u.id)) / 2, 7)) AS ids_from,
            left(max(u.id), least(max(length(u.id)) / 2, 7)) AS ids_to
        FROM (
            SELECT offers.operator_ids[a.offer] AS operator_id, a.id COLLATE "C" AS id
            FROM (SELECT unnest(batch.offers) AS offer, unnest(batch.transaction_ids) AS id) AS a
        ) AS u GROUP BY u.operator_id
    ) AS g
    CROSS JOIN LATERAL (
        -- As sums, so that no index by partition seems good for the least of them.
        SELECT min(k.first_round + 0) AS lowest, max(k.first_round + 0) AS highest,
            bool_or(k.first_round = sold_first AND k.ids_to >= g.ids_to) AS known
        FROM bet_id_bounds AS k WHERE k.operator_id = g.operator_id AND k.ids_to >= g.ids_from
    ) AS b;
    -- Partitions beyond, which are made ahead, are not even opened.
    IF highest_first > sold_last OR sold_last IS NULL THEN
        SELECT coalesce(max(p.end_round), 9223372036854775807) INTO batch.ids_end_round FROM bet_partitions AS p WHERE p.first_round = highest_first;
    END IF;
    batch.ids_suspect := batch.ids_since_round < sold_first OR highest_first > sold_first OR sold_last > sold_first OR rolled_back;
    IF unbounded OR sold_last > sold_first THEN
        INSERT INTO bet_id_bounds (operator_id, ids_to, first_round)
        SELECT u.operator_id, u.ids_to, p.first_round
        FROM unnest(operators, beginnings) AS u (operator_id, ids_to)
        JOIN bet_partitions AS p ON p.first_round BETWEEN sold_first AND sold_last
        LEFT JOIN LATERAL (
            SELECT true AS is_known FROM bet_id_bounds AS k
            WHERE k.operator_id = u.operator_id AND k.ids_to >= u.ids_to AND k.first_round + 0 = p.first_round LIMIT 1
        ) AS bound ON true
        WHERE bound.is_known IS NULL;
    END IF;
    RETURN batch;
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
            FROM (
                SELECT unnest(batch.offers) AS offer, unnest(batch.picks) AS picks, unnest(batch.stakes_minor) AS stake_minor,
                    unnest(player_references) AS player
            ) AS u
        ) AS a
        LEFT JOIN LATERAL (
            SELECT held.id, held.blocked, held.round_bets_max, held.round_stake_max_minor FROM accounts AS held
            WHERE held.operator_id = a.operator_id AND held.player_reference = a.player AND held.currency = offers.currencies[a.offer]
                AND held.kind = 'player' LIMIT 1
        ) AS account ON true
    ) AS j;
    IF batch.ids_suspect OR NOT 0 = ALL (batch.outcomes) THEN
        SELECT array_agg(a.ord) INTO looked_for
        FROM unnest(batch.outcomes) WITH ORDINALITY AS a (outcome, ord) WHERE batch.ids_suspect OR a.outcome <> 0;
        FOR earlier IN SELECT * FROM named_before(batch, looked_for) LOOP
            batch.outcomes[earlier.place] := CASE
                WHEN batch.outcomes[earlier.place] = 1 OR earlier.fingerprint = batch.fingerprints[earlier.place] THEN 1 ELSE 2
            END;
        END LOOP;
    END IF;
    batch.limited := coalesce(cardinality(array_remove(batch.round_bets_max, NULL)) + cardinality(array_remove(batch.round_stakes_max_minor, NULL))
        + cardinality(array_remove(offers.exposures_max_minor, NULL)) > 0, false);
    RETURN batch;
END
$$;

-- Debits the accepted bets, stores them and returns their ids. Raises KN001 where an account does not cover all of its bets.
CREATE OR REPLACE FUNCTION write_bets(batch bet_batch, offers bet_offers, at_ms bigint) RETURNS bigint[]
    LANGUAGE plpgsql
    -- Accounts must be met in the order of their ids, or two batches could wait for each other: so a nested loop over the sorted sums.
    SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
DECLARE
    due_count bigint;
    debited_count bigint;
BEGIN
    WITH numbered AS MATERIALIZED (
        SELECT array_agg(CASE WHEN a.outcome = 0 THEN nextval('bets_id_seq') END) AS ids FROM (SELECT unnest(batch.outcomes) AS outcome) AS a
    ), due AS MATERIALIZED (
        SELECT a.account_id, sum(a.stake_minor)::bigint AS minor
        FROM (SELECT unnest(batch.account_ids) AS account_id, unnest(batch.stakes_minor) AS stake_minor, unnest(batch.outcomes) AS outcome) AS a
        WHERE a.outcome = 0 GROUP BY a.account_id ORDER BY a.account_id
    ), debited AS (
        UPDATE accounts AS held SET balance_minor = held.balance_minor - due.minor
        FROM due WHERE held.id = due.account_id AND held.balance_minor >= due.minor RETURNING 1
    ), counted AS MATERIALIZED (
        SELECT (SELECT count(*) FROM due) AS due, (SELECT count(*) FROM debited) AS debited
    ), placed AS (
        INSERT INTO bets (id, operator_id, round_id, account_id, stake_minor, accepted_ms, terms, picks, fingerprint, transaction_id)
        OVERRIDING SYSTEM VALUE
        SELECT a.id, a.operator_id, offers.round_ids[a.offer], a.account_id, a.stake_minor, at_ms, offers.terms[a.offer], a.picks, a.fingerprint,
            a.transaction_id
        FROM (
            SELECT unnest((SELECT n.ids FROM numbered AS n)) AS id, unnest(batch.operator_ids) AS operator_id, unnest(batch.offers) AS offer,
                unnest(batch.account_ids) AS account_id, unnest(batch.stakes_minor) AS stake_minor, unnest(batch.picks) AS picks,
                unnest(batch.fingerprints) AS fingerprint, unnest(batch.transaction_ids) AS transaction_id
        ) AS a
        -- The counts are known once all accounts are held: bets come after accounts here and everywhere.
        WHERE a.id IS NOT NULL AND (SELECT c.due = c.debited FROM counted AS c)
        -- In the order of their keys: two batches with the same ids wait for each other in the unique index, and never in a circle.
        ORDER BY a.operator_id, a.transaction_id COLLATE "C"
    )
    SELECT n.ids, c.due, c.debited INTO batch.bet_ids, due_count, debited_count FROM numbered AS n CROSS JOIN counted AS c;
    IF debited_count < due_count THEN
        RAISE EXCEPTION 'not every account covers its bets' USING ERRCODE = 'KN001';
    END IF;
    RETURN batch.bet_ids;
END
$$;

DROP FUNCTION place_bets;
-- What became of a batch: the outcome and id of each bet, and of each offer what the bets accepted on it have in common. The latter go on after
-- the offers with one element for each duplicate of the batch, in order, of the bet that stands.
CREATE TYPE placed_bets AS (
    outcomes smallint[], bet_ids bigint[],
    round_ids bigint[], round_numbers bigint[], room_ids uuid[], paytable_hashes bytea[], accepted_ms bigint[]
);

-- Offers first, one element an offer in each array: it names its room (the round on sale is taken) or its round, the other is null; a null
-- paytable stands for the room's first. Then the bets, one element a bet: `offers` are places in the arrays before, from 1.
-- No (operator, transaction id) may stand twice in one call. A unique_violation means that another connection placed one of
-- them at the same time: call again, and it is found.
CREATE FUNCTION place_bets(
    operator_ids uuid[], room_ids uuid[], round_ids bigint[], currencies text[], paytable_hashes bytea[],
    offers integer[], transaction_ids text[], fingerprints bytea[], player_references text[], picks bytea[], stakes_minor bigint[]
) RETURNS placed_bets
    LANGUAGE plpgsql
    -- A plan outlives the tables it was made for: one made while they were small would read them whole when they are not, and one made
    -- anew for each batch would cost as much as ten bets.
    SET enable_seqscan = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    batch bet_batch;
    offered bet_offers;
    meant bigint[] := rounds_meant(room_ids, round_ids, now_ms());
    at_ms bigint;
    written boolean := false;
    placed placed_bets;
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
        offered.counters := counters_of(offered);
        batch := refuse_in_turn(batch, offered);
        batch.bet_ids := write_bets(batch, offered, at_ms);
    END IF;

    placed.outcomes := batch.outcomes;
    placed.bet_ids := batch.bet_ids;
    placed.round_ids := offered.round_ids;
    placed.round_numbers := offered.round_numbers;
    placed.room_ids := offered.room_ids;
    placed.paytable_hashes := offered.paytable_hashes;
    placed.accepted_ms := array_fill(at_ms, ARRAY[cardinality(operator_ids)]);
    IF 1 = ANY (batch.outcomes) THEN
        SELECT array_agg(coalesce(a.bet_id, earlier.id) ORDER BY a.ord),
            placed.round_ids || array_agg(earlier.round_id ORDER BY a.ord) FILTER (WHERE a.outcome = 1),
            placed.round_numbers || array_agg(r.number ORDER BY a.ord) FILTER (WHERE a.outcome = 1),
            placed.room_ids || array_agg(r.room_id ORDER BY a.ord) FILTER (WHERE a.outcome = 1),
            placed.paytable_hashes || array_agg(t.paytable_hash ORDER BY a.ord) FILTER (WHERE a.outcome = 1),
            placed.accepted_ms || array_agg(earlier.accepted_ms ORDER BY a.ord) FILTER (WHERE a.outcome = 1)
        INTO placed.bet_ids, placed.round_ids, placed.round_numbers, placed.room_ids, placed.paytable_hashes, placed.accepted_ms
        FROM unnest(batch.outcomes, batch.bet_ids) WITH ORDINALITY AS a (outcome, bet_id, ord)
        LEFT JOIN bets_named(batch, array_positions(batch.outcomes, 1::smallint)::bigint[]) AS earlier ON earlier.place = a.ord
        LEFT JOIN rounds AS r ON r.id = earlier.round_id
        LEFT JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = earlier.terms;
    END IF;
    RETURN placed;
END
$$;

-- migrate: rollback
