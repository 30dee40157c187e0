-- What leaves the tables that grow: old partitions of bets and payouts, and receipts of events that nobody needs any more.
-- depends: 0016_audit_checkpoints

-- migrate: apply
CREATE SCHEMA archive;
COMMENT ON SCHEMA archive IS 'detached partitions of bets and payouts, to be dumped and dropped by whoever runs the database; the services cannot read them';

CREATE TABLE archived_partitions (
    first_round bigint PRIMARY KEY,
    end_round bigint NOT NULL,
    rounds int8multirange NOT NULL,
    bets_count bigint NOT NULL,
    summed_ms bigint NOT NULL DEFAULT now_ms(),
    detached_ms bigint
);
COMMENT ON TABLE archived_partitions IS
    'partitions that were summed up and then detached, each a transaction; rounds are those of the partition, all of them ended, credited and audited';

CREATE TABLE archive_sums (
    account_id bigint PRIMARY KEY,
    minor bigint NOT NULL
);
COMMENT ON TABLE archive_sums IS 'what the entries of the partition add up to that was summed up and is not detached';

CREATE TABLE archived_balances (LIKE archive_sums INCLUDING INDEXES);
COMMENT ON TABLE archived_balances IS 'what the entries of all detached partitions add up to, refunds of their bets among them';

CREATE TABLE archived_refunds (
    bet_id bigint PRIMARY KEY,
    first_round bigint NOT NULL REFERENCES archived_partitions
);
COMMENT ON TABLE archived_refunds IS 'the bets of void rounds in these partitions: their refunds stay in wallet_transactions and count as archived';
GRANT SELECT ON archived_partitions, archive_sums, archived_balances, archived_refunds TO keno_app;

-- Sums the oldest partition up if it may leave, and returns its first round; null if it may not. It may if another has begun before the
-- retention, and if all of its rounds ended before it and are behind the newest checkpoint of the audit: so they are credited, nothing of
-- them can change, and the checkpoint's sums have them. Never within a week, whatever is asked: the id of a bet that has left is free again.
CREATE FUNCTION sum_oldest_partition(p_retention_ms bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    retention_min_ms CONSTANT bigint := 604800000;
    horizon_ms CONSTANT bigint := now_ms() - greatest(p_retention_ms, retention_min_ms);
    oldest bet_partitions;
    audited int8multirange;
BEGIN
    PERFORM pg_advisory_xact_lock(-7313);
    SELECT * INTO oldest FROM bet_partitions ORDER BY first_round LIMIT 1;
    IF EXISTS (SELECT FROM archived_partitions AS a WHERE a.first_round = oldest.first_round) THEN
        RETURN oldest.first_round;
    END IF;
    SELECT k.rounds INTO audited FROM audit_checkpoints AS k JOIN pg_control_system() AS server ON server.system_identifier = k.system_id
    WHERE k.id = (SELECT max(newest.id) FROM audit_checkpoints AS newest);
    IF audited IS NULL
        OR NOT EXISTS (SELECT FROM (SELECT r.opened_ms FROM rounds AS r WHERE r.id >= oldest.end_round ORDER BY r.id LIMIT 1) AS next
            WHERE next.opened_ms < horizon_ms)
        OR EXISTS (SELECT FROM rounds AS r WHERE r.id >= oldest.first_round AND r.id < oldest.end_round
            AND (r.ended_ms < horizon_ms AND r.id <@ audited) IS NOT TRUE) THEN
        RETURN NULL;
    END IF;
    INSERT INTO archived_partitions (first_round, end_round, rounds, bets_count)
    SELECT oldest.first_round, oldest.end_round, audited * int8multirange(int8range(oldest.first_round, oldest.end_round)),
        (SELECT count(*) FROM bets AS b WHERE b.round_id >= oldest.first_round AND b.round_id < oldest.end_round);
    INSERT INTO archived_refunds (bet_id, first_round)
    SELECT b.id, oldest.first_round FROM bets AS b JOIN rounds AS r ON r.id = b.round_id AND r.phase = 'void'
    WHERE b.round_id >= oldest.first_round AND b.round_id < oldest.end_round;
    INSERT INTO archive_sums (account_id, minor)
    WITH entries AS (
        SELECT house.id AS credited, b.account_id AS debited, b.stake_minor AS minor
        FROM bets AS b
        JOIN accounts AS held ON held.id = b.account_id
        JOIN accounts AS house ON house.operator_id = held.operator_id AND house.currency = held.currency AND house.kind = 'house'
        WHERE b.round_id >= oldest.first_round AND b.round_id < oldest.end_round
        UNION ALL
        SELECT p.account_id, house.id, p.payout_minor
        FROM payouts AS p
        JOIN accounts AS held ON held.id = p.account_id
        JOIN accounts AS house ON house.operator_id = held.operator_id AND house.currency = held.currency AND house.kind = 'house'
        WHERE p.round_id >= oldest.first_round AND p.round_id < oldest.end_round
        UNION ALL
        SELECT w.credit_account_id, w.debit_account_id, w.amount_minor
        FROM archived_refunds AS refunded JOIN wallet_transactions AS w ON w.bet_id = refunded.bet_id
        WHERE refunded.first_round = oldest.first_round
    )
    SELECT account_id, sum(minor) FROM (
        SELECT credited AS account_id, minor FROM entries UNION ALL SELECT debited, -minor FROM entries
    ) AS e
    GROUP BY account_id;
    RETURN oldest.first_round;
END
$$;

-- Moves the partition that was summed up to the schema archive; false, and nothing is done, while an audit reads. Bets wait for this as long
-- as it waits for those on their way, and not longer than the timeout, after which it is undone and can be called again.
CREATE FUNCTION detach_partition(p_first_round bigint) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '500ms' AS $$
DECLARE
    leaf text;
BEGIN
    IF NOT pg_try_advisory_xact_lock(-7312) THEN
        RETURN false;
    END IF;
    UPDATE archived_partitions SET detached_ms = now_ms() WHERE first_round = p_first_round AND detached_ms IS NULL;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'partition % was not summed up, or is detached', p_first_round USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO archived_balances AS sum (account_id, minor) SELECT s.account_id, s.minor FROM archive_sums AS s
    ON CONFLICT (account_id) DO UPDATE SET minor = sum.minor + excluded.minor;
    DELETE FROM archive_sums;
    DELETE FROM bet_partitions WHERE first_round = p_first_round;
    LOCK TABLE bets, payouts IN ACCESS EXCLUSIVE MODE;
    FOREACH leaf IN ARRAY ARRAY['bets', 'payouts'] LOOP
        EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', leaf, leaf || '_' || p_first_round);
        EXECUTE format('ALTER TABLE %I SET SCHEMA archive', leaf || '_' || p_first_round);
    END LOOP;
    RETURN true;
END
$$;

-- A receipt keeps an event that comes again from taking effect twice. Without one both handlers still see by what they did: the wallet by the
-- round's credits, and reporting by the horizon, before which it sets an hour's figures instead of adding to them. The horizon is the
-- beginning of an hour, and an hour older than the retention, whose rounds ended before their receipts were written: so no hour is half before it.
CREATE TABLE inbox_horizon (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    kept_since_ms bigint NOT NULL
);
COMMENT ON TABLE inbox_horizon IS 'the inbox may lack receipts older than this, which is the beginning of an hour';
INSERT INTO inbox_horizon (kept_since_ms) VALUES (0);
GRANT SELECT ON inbox_horizon TO keno_app;
CREATE INDEX inbox_by_age ON inbox (handled_ms);

-- Deletes some of the receipts older than the retention, and as many dead events that were replayed before; returns how many receipts. The only way for the services
-- to delete any.
CREATE FUNCTION forget_receipts(p_retention_ms bigint, p_receipts_max integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET enable_seqscan = off AS $$
DECLARE
    hour_ms CONSTANT bigint := 3600000;
    horizon_ms CONSTANT bigint := ((now_ms() - greatest(p_retention_ms, hour_ms)) / hour_ms - 1) * hour_ms;
    forgotten integer;
BEGIN
    UPDATE inbox_horizon SET kept_since_ms = horizon_ms WHERE kept_since_ms < horizon_ms;
    WITH oldest AS MATERIALIZED (
        SELECT i.consumer, i.event_id FROM inbox AS i WHERE i.handled_ms < horizon_ms ORDER BY i.handled_ms LIMIT p_receipts_max
    )
    DELETE FROM inbox AS i USING oldest WHERE i.consumer = oldest.consumer AND i.event_id = oldest.event_id;
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    DELETE FROM dead_events AS d WHERE d.replayed_ms < horizon_ms;
    RETURN forgotten;
END
$$;

REVOKE EXECUTE ON FUNCTION sum_oldest_partition, detach_partition, forget_receipts FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sum_oldest_partition, detach_partition, forget_receipts TO keno_app;

-- migrate: rollback
