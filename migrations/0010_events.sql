-- Events that no handler could take, kept for people; and an outbox that forgets what was sent long ago.
-- depends: 0009_settlement

-- migrate: apply
CREATE TABLE dead_events (
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    routing_key text NOT NULL,
    aggregate text NOT NULL,
    time_ms bigint NOT NULL,
    data bytea NOT NULL,
    reason text NOT NULL,
    dead_ms bigint NOT NULL DEFAULT now_ms(),
    replayed_ms bigint,
    PRIMARY KEY (consumer, event_id)
);
COMMENT ON TABLE dead_events IS
    'the dead events of the bus in one process, whole, because the outbox forgets them; those of RabbitMQ stand in its own queue';
CREATE INDEX dead_events_waiting ON dead_events (dead_ms) WHERE replayed_ms IS NULL;

GRANT SELECT, INSERT ON dead_events TO keno_app;
GRANT UPDATE (reason, dead_ms, replayed_ms) ON dead_events TO keno_app;

-- Compared by column: a row as jsonb costs more than the update it guards.
CREATE OR REPLACE FUNCTION guard_outbox() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.sent_ms IS NOT NULL OR (OLD.id, OLD.event_id, OLD.routing_key, OLD.aggregate, OLD.payload, OLD.created_ms)
        IS DISTINCT FROM (NEW.id, NEW.event_id, NEW.routing_key, NEW.aggregate, NEW.payload, NEW.created_ms) THEN
        RAISE EXCEPTION 'outbox row % is immutable: it can only be marked as sent, once', OLD.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;

-- Nothing asks for the events of an aggregate, and every event paid for this index twice.
DROP INDEX outbox_of_aggregate;

CREATE TABLE outbox_horizon (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    kept_since_ms bigint NOT NULL
);
COMMENT ON TABLE outbox_horizon IS 'the outbox may lack sent events older than this; the audit asks for none of them';
INSERT INTO outbox_horizon (kept_since_ms) VALUES (0);
GRANT SELECT ON outbox_horizon TO keno_app;

-- Deletes some of the oldest events if they were sent and are older than the retention; returns how many. The only way for the services to
-- delete any: whatever they ask for, an hour of events stays, and what was not sent.
CREATE FUNCTION forget_sent_events(p_retention_ms bigint, p_events_max integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    -- From the low end of the primary key, whatever the planner knows of a table that grows and shrinks all the time.
    SET enable_seqscan = off SET enable_sort = off SET enable_hashjoin = off SET enable_mergejoin = off
    AS $$
DECLARE
    retention_min_ms CONSTANT bigint := 3600000;
    horizon_ms bigint := now_ms() - greatest(p_retention_ms, retention_min_ms);
    forgotten integer;
BEGIN
    -- The limit stands inside of the age: a table without old rows is not read to its end.
    WITH oldest AS MATERIALIZED (
        SELECT o.id, o.created_ms FROM outbox AS o WHERE o.sent_ms IS NOT NULL ORDER BY o.id LIMIT p_events_max
    )
    DELETE FROM outbox AS o USING oldest WHERE o.id = oldest.id AND oldest.created_ms < horizon_ms;
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    IF forgotten > 0 THEN
        UPDATE outbox_horizon SET kept_since_ms = horizon_ms WHERE kept_since_ms < horizon_ms;
    END IF;
    RETURN forgotten;
END
$$;
REVOKE EXECUTE ON FUNCTION forget_sent_events FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_sent_events TO keno_app;

-- migrate: rollback
