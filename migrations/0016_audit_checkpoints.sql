-- What the audit has found right, so that the next one can begin there.
-- depends: 0015_round_win_max

-- migrate: apply
-- The transaction that entered a movement: whether a checkpoint has seen it follows from the checkpoint's snapshot, by the rule by which
-- snapshots are made. Ids do not tell: they are given out in one order and committed in another. What is here already is older than all of them.
ALTER TABLE wallet_transactions ADD xid xid8 NOT NULL DEFAULT '2';
ALTER TABLE wallet_transactions ALTER xid SET DEFAULT pg_current_xact_id();
ALTER TABLE rollbacks ADD xid xid8 NOT NULL DEFAULT '2';
ALTER TABLE rollbacks ALTER xid SET DEFAULT pg_current_xact_id();

CREATE TABLE audit_checkpoints (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms bigint NOT NULL DEFAULT now_ms(),
    system_id bigint NOT NULL,
    snapshot pg_snapshot NOT NULL,
    rounds int8multirange NOT NULL,
    last_movement_id bigint NOT NULL,
    last_event_id bigint NOT NULL,
    open_event_id bigint NOT NULL,
    last_log_id bigint NOT NULL,
    last_log_hash bytea NOT NULL,
    open_log_id bigint NOT NULL
);
COMMENT ON TABLE audit_checkpoints IS
    'Up to where the audit found everything right. Behind the newest row: the rounds it names, with all that belongs to them, the movements and '
    'rollbacks that its snapshot sees, and the audit trail to its last row. Nothing behind it can change any more.';
COMMENT ON COLUMN audit_checkpoints.system_id IS 'the server that counts the transactions of the snapshot; a database restored to another one has no checkpoint';
COMMENT ON COLUMN audit_checkpoints.rounds IS 'the rounds that have ended and, where they pay or refund anything, are credited';
COMMENT ON COLUMN audit_checkpoints.last_event_id IS 'the highest id in the outbox then; older ids may still have come to light later';
COMMENT ON COLUMN audit_checkpoints.open_event_id IS 'the lowest id of an event of a round that is not behind; open_log_id likewise in the audit trail';

CREATE TABLE audit_balances (
    account_id bigint PRIMARY KEY,
    minor bigint NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE audit_balances IS 'the sum of the entries of each account behind the newest checkpoint, of house and cash accounts too';

-- The services delete nothing but by these.
CREATE FUNCTION forget_checkpoints(p_before bigint) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM audit_checkpoints WHERE id < p_before AND id < (SELECT max(k.id) FROM audit_checkpoints AS k)
$$;
CREATE FUNCTION renew_checkpoint() RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM audit_checkpoints;
    DELETE FROM audit_balances;
$$;
REVOKE EXECUTE ON FUNCTION forget_checkpoints, renew_checkpoint FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_checkpoints, renew_checkpoint TO keno_app;

GRANT SELECT, INSERT ON audit_checkpoints, audit_balances TO keno_app;
GRANT UPDATE (minor) ON audit_balances TO keno_app;

-- migrate: rollback
