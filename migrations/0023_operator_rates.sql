-- How many bets a second each operator may send, over all gateways.
-- depends: 0022_sessions

-- migrate: apply
ALTER TABLE operators ADD bets_per_s_max integer NOT NULL DEFAULT 10000 CHECK (bets_per_s_max BETWEEN 1 AND 1000000);
COMMENT ON COLUMN operators.bets_per_s_max IS 'requests that carry no bets count as one; keno/risk/rates.py says what follows from it';
GRANT UPDATE (bets_per_s_max) ON operators TO keno_app;

-- migrate: rollback
