-- A scheduler counts where the shards are shared once it has lived for a while.
-- depends: 0047_longer_than_a_beacon

-- migrate: apply
ALTER TABLE schedulers ADD COLUMN since timestamptz NOT NULL DEFAULT clock_timestamp();
COMMENT ON COLUMN schedulers.since IS 'when it called the roll for the first time';

-- migrate: rollback
