-- The maximum of what a player wins in one round; a win that it cuts to nothing is recorded with what was cut.
-- depends: 0012_partitions

-- migrate: apply
ALTER TABLE rules_currencies ADD round_win_max_minor bigint CHECK (round_win_max_minor >= win_max_minor);
COMMENT ON COLUMN rules_currencies.round_win_max_minor IS 'the most that all bets of an account in one round are paid; null is no such limit';

ALTER TABLE payouts DROP CONSTRAINT payouts_payout_minor_check;
ALTER TABLE payouts ADD CONSTRAINT payouts_payout_minor_check CHECK (payout_minor > 0 OR (payout_minor = 0 AND cut_minor > 0));
COMMENT ON TABLE payouts IS
    'The bets that won; cut_minor is what the maximum wins of a bet and of a player''s round took off, which may be all of it. A payout above 0 is its own ledger entry, from the house to the account, once its round is credited.';

-- As before, without what was cut to nothing: an entry moves money.
CREATE OR REPLACE VIEW ledger AS
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
    JOIN accounts AS house ON house.operator_id = held.operator_id AND house.currency = held.currency AND house.kind = 'house'
    WHERE p.payout_minor > 0;

-- migrate: rollback
