-- How far the audit has found the public log right, so that the next one can go on there.
-- depends: 0037_round_wins

-- migrate: apply
ALTER TABLE audit_checkpoints
    ADD log_size bigint NOT NULL DEFAULT 0,
    ADD log_hashes bytea NOT NULL DEFAULT '',
    ADD CONSTRAINT audit_checkpoints_log_check CHECK (log_size >= 0 AND length(log_hashes) = 32 * bit_count(log_size::bit(64)));
COMMENT ON COLUMN audit_checkpoints.log_size IS 'how many entries of the public log are behind; last_log_id and the like are of the audit trail';
COMMENT ON COLUMN audit_checkpoints.log_hashes IS 'the hashes of the perfect subtrees that those entries consist of, the largest first: the tree goes on from them';
COMMENT ON COLUMN audit_checkpoints.rounds IS 'the rounds that have ended, are in the log and, where they pay or refund anything, are credited';

-- migrate: rollback
