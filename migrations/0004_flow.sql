-- What leaves a transaction for others: events and their receipt, the audit trail, the operators' figures.
-- depends: 0003_money

-- migrate: apply
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL DEFAULT gen_random_uuid() UNIQUE,
    routing_key text NOT NULL,
    aggregate text NOT NULL,
    payload jsonb NOT NULL,
    created_ms bigint NOT NULL DEFAULT now_ms(),
    sent_ms bigint
) WITH (fillfactor = 80);
CREATE INDEX outbox_unsent ON outbox (id) WHERE sent_ms IS NULL;
CREATE INDEX outbox_of_aggregate ON outbox (aggregate, routing_key);

CREATE TABLE inbox (
    consumer text NOT NULL,
    event_id uuid NOT NULL,
    handled_ms bigint NOT NULL DEFAULT now_ms(),
    PRIMARY KEY (consumer, event_id)
);

CREATE FUNCTION guard_outbox() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.sent_ms IS NOT NULL OR to_jsonb(OLD) - 'sent_ms' IS DISTINCT FROM to_jsonb(NEW) - 'sent_ms' THEN
        RAISE EXCEPTION 'outbox row % is immutable: it can only be marked as sent, once', OLD.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard_outbox BEFORE UPDATE ON outbox FOR EACH ROW EXECUTE FUNCTION guard_outbox();

CREATE TABLE audit_logs (
    id bigint PRIMARY KEY,
    at_ms bigint NOT NULL,
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    detail jsonb NOT NULL,
    prev_hash bytea NOT NULL,
    hash bytea NOT NULL UNIQUE
);

CREATE FUNCTION audit_hash(prev_hash bytea, at_ms bigint, actor text, action text, subject text, detail jsonb) RETURNS bytea
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN sha256(prev_hash || convert_to(jsonb_build_array(at_ms, actor, action, subject, detail)::text, 'UTF8'));
COMMENT ON FUNCTION audit_hash IS 'links an audit row to the one before it: SHA256(previous hash, the row''s fields as a JSON array)';

-- The chain is built here and not by the writer, one writer at a time until its commit.
CREATE FUNCTION chain_audit_log() RETURNS trigger
    LANGUAGE plpgsql AS $$
DECLARE
    last record;
BEGIN
    PERFORM pg_advisory_xact_lock(-7302);
    SELECT id, hash INTO last FROM audit_logs ORDER BY id DESC LIMIT 1;
    NEW.id := coalesce(last.id, 0) + 1;
    NEW.prev_hash := coalesce(last.hash, decode(repeat('00', 32), 'hex'));
    NEW.at_ms := now_ms();
    NEW.hash := audit_hash(NEW.prev_hash, NEW.at_ms, NEW.actor, NEW.action, NEW.subject, NEW.detail);
    RETURN NEW;
END
$$;
CREATE TRIGGER chain_audit_log BEFORE INSERT ON audit_logs FOR EACH ROW EXECUTE FUNCTION chain_audit_log();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_logs FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE admin_actions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms bigint NOT NULL DEFAULT now_ms(),
    actor text NOT NULL,
    action text NOT NULL,
    subject text NOT NULL,
    before jsonb,
    after jsonb
);
COMMENT ON TABLE admin_actions IS 'what staff and the command line changed, with the state before and after; each also has its audit row';
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON admin_actions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE revenue_hourly (
    operator_id uuid NOT NULL,
    room_id uuid NOT NULL,
    currency text NOT NULL,
    hour_ms bigint NOT NULL,
    rounds_count integer NOT NULL,
    bets_count bigint NOT NULL,
    staked_minor bigint NOT NULL,
    paid_minor bigint NOT NULL,
    PRIMARY KEY (operator_id, hour_ms, room_id, currency)
);

GRANT SELECT, INSERT ON outbox, inbox, audit_logs, admin_actions TO keno_app;
GRANT UPDATE (sent_ms) ON outbox TO keno_app;
GRANT SELECT, INSERT, UPDATE ON revenue_hourly TO keno_app;
GRANT INSERT ON audit_logs TO keno_vault;
GRANT SELECT ON audit_logs TO keno_vault;

-- migrate: rollback
