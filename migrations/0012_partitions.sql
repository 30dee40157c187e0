-- Bets and payouts in partitions by round: the ids of rounds grow with time, so a partition is a span of time.
-- depends: 0011_offers

-- migrate: apply
DROP VIEW ledger;

-- What was stored before becomes the first partition, as it stands.
ALTER TABLE bets RENAME TO bets_0;
ALTER TABLE payouts RENAME TO payouts_0;
ALTER INDEX bets_by_caller RENAME TO bets_0_by_caller;
ALTER INDEX bets_of_hour RENAME TO bets_0_of_hour;
ALTER TABLE bets_0 DROP CONSTRAINT bets_pkey;
ALTER TABLE payouts_0 DROP CONSTRAINT payouts_pkey;
DROP INDEX bets_of_round, payouts_of_round;
CREATE TEMP TABLE bets_before ON COMMIT DROP AS SELECT last_value, is_called FROM bets_id_seq;
-- A partition has no sequence of its own.
ALTER TABLE bets_0 ALTER COLUMN id DROP IDENTITY;

CREATE TABLE bets (LIKE bets_0 INCLUDING CONSTRAINTS INCLUDING COMMENTS, PRIMARY KEY (round_id, id)) PARTITION BY RANGE (round_id);
ALTER TABLE bets ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY;
SELECT setval('bets_id_seq', last_value, is_called) FROM bets_before;
CREATE INDEX bets_of_hour ON bets ((accepted_ms / 3600000), account_id);
COMMENT ON TABLE bets IS 'a bet is its own ledger entry: the stake leaves the account for the house of its operator and currency';

CREATE TABLE payouts (LIKE payouts_0 INCLUDING CONSTRAINTS INCLUDING COMMENTS, PRIMARY KEY (round_id, bet_id)) PARTITION BY RANGE (round_id);
COMMENT ON TABLE payouts IS
    'winning bets only; cut_minor is what the maximum win took off. A payout is its own ledger entry, from the house to the account, once its round is credited.';

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON bets FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON payouts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
GRANT SELECT, INSERT ON bets, payouts TO keno_app;
GRANT USAGE ON SEQUENCE bets_id_seq TO keno_app;

CREATE VIEW ledger AS
    SELECT w.operator_id, w.kind, w.debit_account_id, w.credit_account_id, w.amount_minor, w.transaction_id, w.bet_id, w.created_ms
    FROM wallet_transactions AS w
    UNION ALL
    SELECT b.operator_id, 'bet', b.account_id, house.id, b.stake_minor, b.transaction_id, b.id, b.accepted_ms
    FROM bets AS b
    JOIN accounts AS held ON held.id = b.account_id
    JOIN accounts AS house ON house.operator_id = held.operator_id AND house.currency = held.currency AND house.kind = 'house'
    UNION ALL
    SELECT held.operator_id, 'win', house.id, p.account_id, p.payout_minor, NULL, p.bet_id, c.credited_ms
    FROM payouts AS p
    JOIN round_credits AS c ON c.round_id = p.round_id
    JOIN accounts AS held ON held.id = p.account_id
    JOIN accounts AS house ON house.operator_id = held.operator_id AND house.currency = held.currency AND house.kind = 'house';
COMMENT ON VIEW ledger IS 'every movement of money, each with the account it leaves and the account it enters';
GRANT SELECT ON ledger TO keno_app;

CREATE TABLE bet_partitions (
    first_round bigint PRIMARY KEY CHECK (first_round >= 0),
    end_round bigint NOT NULL CHECK (end_round > first_round)
);
COMMENT ON TABLE bet_partitions IS
    'The attached partitions of bets and payouts, named bets_N and payouts_N after their first round; end_round is the next one''s first. '
    'Whoever detaches a partition takes its row out of here in the same transaction.';
GRANT SELECT ON bet_partitions TO keno_app;

-- Rounds in a new partition: ten hours of them at ten million a day. Partitions that exist keep their size.
CREATE FUNCTION partition_rounds() RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 4194304;

-- What a partition gets beside the columns and checks of its parent. A unique index of the parent would have to contain the round, so each partition
-- has its own, and an id in another partition is looked for: see hold_off_rollbacks().
CREATE FUNCTION complete_partition(p_first_round bigint) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    bets_leaf CONSTANT text := 'bets_' || p_first_round;
    leaf text;
BEGIN
    EXECUTE format('CREATE UNIQUE INDEX IF NOT EXISTS %I ON %I (operator_id, transaction_id)', bets_leaf || '_by_caller', bets_leaf);
    EXECUTE format('CREATE UNIQUE INDEX %I ON %I (id)', bets_leaf || '_by_id', bets_leaf);
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %I ((accepted_ms / 3600000), account_id)', bets_leaf || '_of_hour', bets_leaf);
    FOREACH leaf IN ARRAY ARRAY[bets_leaf, 'payouts_' || p_first_round] LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON %I'
            ' FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()', leaf);
        EXECUTE format('REVOKE ALL ON %I FROM keno_app', leaf);
    END LOOP;
END
$$;

-- Makes partitions until there are so many whole ones beyond the newest round; returns how many it made. Bets go on meanwhile: a table
-- that is attached, unlike one created in its place, only waits for other work of this kind.
CREATE FUNCTION make_partitions(p_ahead integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
DECLARE
    made integer := 0;
    begin_round bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(-7303);
    WHILE (SELECT count(*) FROM bet_partitions AS p, rounds_id_seq AS newest WHERE p.first_round > newest.last_value) < p_ahead LOOP
        INSERT INTO bet_partitions (first_round, end_round)
        SELECT max(p.end_round), max(p.end_round) + partition_rounds() FROM bet_partitions AS p
        RETURNING first_round INTO begin_round;
        EXECUTE format('CREATE TABLE %I (LIKE bets INCLUDING CONSTRAINTS INCLUDING COMMENTS)', 'bets_' || begin_round);
        EXECUTE format('CREATE TABLE %I (LIKE payouts INCLUDING CONSTRAINTS INCLUDING COMMENTS)', 'payouts_' || begin_round);
        PERFORM complete_partition(begin_round);
        EXECUTE format('ALTER TABLE bets ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', 'bets_' || begin_round,
            begin_round, begin_round + partition_rounds());
        EXECUTE format('ALTER TABLE payouts ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', 'payouts_' || begin_round,
            begin_round, begin_round + partition_rounds());
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION make_partitions IS 'makes partitions of bets and payouts until so many whole ones are beyond the newest round';
REVOKE EXECUTE ON FUNCTION complete_partition, make_partitions FROM PUBLIC;
GRANT EXECUTE ON FUNCTION make_partitions TO keno_app;

INSERT INTO bet_partitions (first_round, end_round)
SELECT 0, (newest.last_value / partition_rounds() + 1) * partition_rounds() FROM rounds_id_seq AS newest;
SELECT complete_partition(0);
DO $$
DECLARE
    bound text := (SELECT format('FROM (%s) TO (%s)', first_round, end_round) FROM bet_partitions);
BEGIN
    EXECUTE 'ALTER TABLE bets ATTACH PARTITION bets_0 FOR VALUES ' || bound;
    EXECUTE 'ALTER TABLE payouts ATTACH PARTITION payouts_0 FOR VALUES ' || bound;
END
$$;
SELECT make_partitions(3);

-- True for five minutes from the first round of a partition, and so while rounds of the one before may be on sale: they are for as long as a
-- period, a minute at most, and a batch that is on its way ends within the half minute of its statement.
CREATE FUNCTION partition_is_new() RETURNS boolean
    LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM bet_partitions AS newest
        CROSS JOIN LATERAL (SELECT r.opened_ms FROM rounds AS r WHERE r.id >= newest.first_round ORDER BY r.id LIMIT 1) AS begun
        WHERE newest.first_round = (SELECT max(p.first_round) FROM bet_partitions AS p WHERE p.first_round <= (SELECT max(r.id) FROM rounds AS r))
            AND newest.first_round > (SELECT min(p.first_round) FROM bet_partitions AS p)
            AND begun.opened_ms > now_ms() - 300000
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
    FROM (SELECT DISTINCT hashtext(u.id::text) AS key FROM unnest(operator_ids) AS u (id) ORDER BY 1) AS o;
END
$$;

-- migrate: rollback
