-- Bets, payouts and the ledger.
-- depends: 0002_rounds

-- migrate: apply
-- These tables take the load, so they have no foreign keys, whose checks and locks cost more than the rows;
-- they are written by place_bets(), settlement and the wallet only, and the audit checks that what they name is there.
CREATE TABLE bets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator_id uuid NOT NULL,
    round_id bigint NOT NULL,
    account_id bigint NOT NULL,
    stake_minor bigint NOT NULL CHECK (stake_minor > 0),
    accepted_ms bigint NOT NULL,
    terms smallint NOT NULL,
    picks bytea NOT NULL CHECK (length(picks) = 10 AND bit_count(picks) BETWEEN 1 AND 10),
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 16),
    transaction_id text COLLATE "C" NOT NULL CHECK (length(transaction_id) BETWEEN 1 AND 64)
);
COMMENT ON TABLE bets IS 'a bet is its own ledger entry: the stake leaves the account for the house of its operator and currency';
COMMENT ON COLUMN bets.picks IS 'an 80-bit big-endian integer whose bit n-1 stands for number n';
COMMENT ON COLUMN bets.terms IS 'the paytable in a currency that the bet is settled by, in rules_terms of its round''s rules';
COMMENT ON COLUMN bets.fingerprint IS 'BLAKE3 of what the caller asked for: the same transaction id with another one is a conflict';
CREATE UNIQUE INDEX bets_by_caller ON bets (operator_id, transaction_id);
CREATE INDEX bets_of_round ON bets (round_id, id);

CREATE TABLE payouts (
    bet_id bigint PRIMARY KEY,
    round_id bigint NOT NULL,
    account_id bigint NOT NULL,
    payout_minor bigint NOT NULL CHECK (payout_minor > 0),
    cut_minor bigint NOT NULL CHECK (cut_minor >= 0),
    hits smallint NOT NULL CHECK (hits BETWEEN 0 AND 10)
);
COMMENT ON TABLE payouts IS
    'winning bets only; cut_minor is what the maximum win took off. A payout is its own ledger entry, from the house to the account, once its round is credited.';
CREATE INDEX payouts_of_round ON payouts (round_id, bet_id);

CREATE TABLE round_credits (
    round_id bigint PRIMARY KEY,
    credits_count bigint NOT NULL,
    credited_ms bigint NOT NULL DEFAULT now_ms()
);
COMMENT ON TABLE round_credits IS 'the rounds whose payouts are in the players'' balances; written with those, in one transaction';

CREATE TABLE round_totals (
    round_id bigint NOT NULL,
    operator_id uuid NOT NULL REFERENCES operators,
    currency text NOT NULL,
    bets_count integer NOT NULL,
    staked_minor bigint NOT NULL,
    paid_minor bigint NOT NULL,
    cut_minor bigint NOT NULL,
    PRIMARY KEY (round_id, operator_id, currency)
);

CREATE TABLE wallet_transactions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator_id uuid NOT NULL,
    kind text NOT NULL CHECK (kind IN ('deposit', 'withdrawal', 'refund', 'rollback')),
    debit_account_id bigint NOT NULL,
    credit_account_id bigint NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    transaction_id text COLLATE "C" CHECK (length(transaction_id) BETWEEN 1 AND 64),
    fingerprint bytea CHECK (length(fingerprint) = 16),
    bet_id bigint,
    created_ms bigint NOT NULL DEFAULT now_ms(),
    CHECK (debit_account_id <> credit_account_id),
    CHECK ((kind = 'refund') = (bet_id IS NOT NULL)),
    CHECK ((transaction_id IS NULL) = (fingerprint IS NULL)),
    CHECK (kind NOT IN ('deposit', 'withdrawal') OR transaction_id IS NOT NULL)
);
COMMENT ON TABLE wallet_transactions IS
    'Double entry: the amount leaves the debit account and enters the credit account, both of one operator and currency. Stakes and wins are entries too: see ledger.';
CREATE UNIQUE INDEX wallet_transactions_by_caller ON wallet_transactions (operator_id, transaction_id) WHERE transaction_id IS NOT NULL;
CREATE UNIQUE INDEX wallet_transactions_of_bet ON wallet_transactions (bet_id, kind) WHERE bet_id IS NOT NULL;
CREATE INDEX wallet_transactions_debits ON wallet_transactions (debit_account_id, id);
CREATE INDEX wallet_transactions_credits ON wallet_transactions (credit_account_id, id);

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

CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON bets FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON payouts FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON round_credits FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON round_totals FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

GRANT SELECT, INSERT ON bets, payouts, round_credits, round_totals, wallet_transactions TO keno_app;
GRANT SELECT ON ledger TO keno_app;

-- migrate: rollback
