-- The anchors of the log on Ethereum: what was to be anchored, every signed transaction before it was sent, and what became of it.
-- depends: 0029_seen_locks

-- migrate: apply
CREATE TABLE anchors (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain_id bigint NOT NULL CHECK (chain_id > 0),
    contract bytea NOT NULL CHECK (length(contract) = 20),
    size bigint NOT NULL REFERENCES log_checkpoints,
    begun_ms bigint NOT NULL DEFAULT now_ms()
);
CREATE INDEX anchors_by_size ON anchors (chain_id, contract, size);
COMMENT ON TABLE anchors IS 'checkpoints of the log that were chosen to be anchored; one at a time for a contract';

CREATE TABLE anchor_transactions (
    id bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    hash bytea PRIMARY KEY CHECK (length(hash) = 32),
    anchor_id bigint NOT NULL REFERENCES anchors,
    nonce bigint NOT NULL CHECK (nonce >= 0),
    max_fee_wei bigint NOT NULL CHECK (max_fee_wei > 0),
    tip_wei bigint NOT NULL CHECK (tip_wei BETWEEN 0 AND max_fee_wei),
    raw bytea NOT NULL,
    signed_ms bigint NOT NULL DEFAULT now_ms()
);
CREATE INDEX anchor_transactions_by_anchor ON anchor_transactions (anchor_id, id);
COMMENT ON TABLE anchor_transactions IS 'all that may be in a mempool or a block because of us; raw is what is sent, and sent again';

CREATE TABLE anchor_verdicts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    anchor_id bigint NOT NULL REFERENCES anchors,
    verdict smallint NOT NULL CHECK (verdict BETWEEN 1 AND 4),
    transaction_hash bytea REFERENCES anchor_transactions,
    block_number bigint,
    block_hash bytea CHECK (length(block_hash) = 32),
    gas_used bigint,
    told_ms bigint NOT NULL DEFAULT now_ms(),
    CHECK (verdict > 2 OR (transaction_hash IS NOT NULL AND block_number >= 0 AND block_hash IS NOT NULL AND gas_used > 0))
);
CREATE INDEX anchor_verdicts_by_anchor ON anchor_verdicts (anchor_id, id);
COMMENT ON COLUMN anchor_verdicts.verdict IS '1 confirmed, 2 reverted, 3 given up: the contract has gone beyond it, 4 lost: a reorganisation took a confirmed one back';

-- The last verdict counts; an anchor without any is being worked on.
CREATE FUNCTION guard_anchor() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(-7330);
    IF EXISTS (
        SELECT FROM anchors AS a WHERE a.chain_id = NEW.chain_id AND a.contract = NEW.contract
            AND NOT EXISTS (SELECT FROM anchor_verdicts AS v WHERE v.anchor_id = a.id)
    ) THEN
        RAISE EXCEPTION 'this contract has an anchor that is not settled' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER guard_anchor BEFORE INSERT ON anchors FOR EACH ROW EXECUTE FUNCTION guard_anchor();

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON anchors FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON anchor_transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON anchor_verdicts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE VIEW confirmed_anchors WITH (security_invoker = true) AS
    SELECT a.id, a.chain_id, a.contract, a.size, c.root, last.transaction_hash, last.block_number, last.block_hash, last.gas_used
    FROM anchors AS a
    JOIN log_checkpoints AS c ON c.size = a.size
    CROSS JOIN LATERAL (
        SELECT v.* FROM anchor_verdicts AS v WHERE v.anchor_id = a.id ORDER BY v.id DESC LIMIT 1
    ) AS last
    WHERE last.verdict = 1;

GRANT SELECT, INSERT ON anchors, anchor_transactions, anchor_verdicts TO keno_app;
GRANT SELECT ON confirmed_anchors TO keno_app;

-- migrate: rollback
