-- The peer of the engine: a step of a round is one call of a function, one transaction, as one would write it without batches. It keeps
-- what ours keeps (fence, commitment, bet set, draw, payouts, totals, an event a step) and leaves out what a peer can do without: the
-- immutability guards, the vault's own role, rules and limits of bets. No table has a foreign key.

CREATE TABLE leases (shard integer PRIMARY KEY, epoch bigint NOT NULL);
INSERT INTO leases VALUES (0, 1);

CREATE TABLE rounds (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    room_id bigint NOT NULL,
    number bigint NOT NULL,
    phase text NOT NULL,
    commit_hash bytea NOT NULL,
    locked_ms bigint,
    bets_count integer,
    bets_root bytea,
    lock_hash bytea,
    seed bytea,
    numbers bytea,
    drawn_mask bytea,
    result bytea,
    ended_ms bigint,
    UNIQUE (room_id, number)
) WITH (fillfactor = 50);

CREATE TABLE accounts (
    id bigint PRIMARY KEY,
    balance_minor bigint NOT NULL CHECK (balance_minor >= 0)
) WITH (fillfactor = 70);

CREATE TABLE bets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    round_id bigint NOT NULL,
    account_id bigint NOT NULL,
    stake_minor bigint NOT NULL,
    picks bytea NOT NULL
);
CREATE INDEX bets_of_round ON bets (round_id, id);

-- What a number of picks and hits pays, in hundredths of the stake.
CREATE TABLE multipliers (picks integer, hits integer, hundredths bigint NOT NULL, PRIMARY KEY (picks, hits));

CREATE TABLE payouts (
    bet_id bigint PRIMARY KEY,
    round_id bigint NOT NULL,
    account_id bigint NOT NULL,
    payout_minor bigint NOT NULL
);
CREATE INDEX payouts_of_round ON payouts (round_id);

CREATE TABLE totals (round_id bigint PRIMARY KEY, bets_count bigint NOT NULL, staked_minor bigint NOT NULL, paid_minor bigint NOT NULL);
CREATE TABLE credits (round_id bigint PRIMARY KEY, credits_count bigint NOT NULL);

CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    routing_key text NOT NULL,
    round_id bigint NOT NULL,
    payload jsonb NOT NULL,
    sent_ms bigint
);
CREATE INDEX outbox_unsent ON outbox (id) WHERE sent_ms IS NULL;

CREATE FUNCTION now_ms() RETURNS bigint
    LANGUAGE sql VOLATILE RETURN floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;

CREATE FUNCTION fence() RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM leases WHERE shard = 0 AND epoch = 1 FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the lease was lost';
    END IF;
END
$$;

CREATE FUNCTION tell(p_routing_key text, p_round_id bigint, detail jsonb) RETURNS void
    LANGUAGE sql AS $$
    INSERT INTO outbox (routing_key, round_id, payload) VALUES (p_routing_key, p_round_id, jsonb_build_object('v', 1, 'round', p_round_id::text) || detail)
$$;

CREATE FUNCTION open_round(p_room_id bigint, p_number bigint, p_commit bytea) RETURNS bigint
    LANGUAGE plpgsql AS $$
DECLARE
    opened bigint;
BEGIN
    PERFORM fence();
    INSERT INTO rounds (room_id, number, phase, commit_hash) VALUES (p_room_id, p_number, 'open', p_commit) RETURNING id INTO opened;
    PERFORM tell('round.opened', opened, jsonb_build_object('commit', encode(p_commit, 'hex')));
    RETURN opened;
END
$$;

CREATE FUNCTION place_bets(p_round_id bigint, account_ids bigint[], stakes bigint[], masks bytea[]) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM rounds WHERE id = p_round_id AND phase = 'open' FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'round % is not open', p_round_id;
    END IF;
    -- In the order of their ids, so that no two rounds wait for each other.
    PERFORM FROM accounts WHERE id = ANY (account_ids) ORDER BY id FOR NO KEY UPDATE;
    UPDATE accounts AS held SET balance_minor = balance_minor - debit.minor
    FROM (SELECT b.account_id, sum(b.stake) AS minor FROM unnest(account_ids, stakes) AS b (account_id, stake) GROUP BY 1) AS debit
    WHERE held.id = debit.account_id;
    INSERT INTO bets (round_id, account_id, stake_minor, picks)
    SELECT p_round_id, b.* FROM unnest(account_ids, stakes, masks) AS b (account_id, stake, mask);
END
$$;

CREATE FUNCTION lock_round(p_round_id bigint) RETURNS TABLE (locked_ms bigint, bet_ids bigint[], account_ids bigint[], stakes bigint[], masks bytea[])
    LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    at_ms CONSTANT bigint := now_ms();
BEGIN
    PERFORM fence();
    UPDATE rounds SET phase = 'locked', locked_ms = at_ms WHERE id = p_round_id AND phase = 'open';
    RETURN QUERY SELECT at_ms, array_agg(b.id ORDER BY b.id), array_agg(b.account_id ORDER BY b.id), array_agg(b.stake_minor ORDER BY b.id),
        array_agg(b.picks ORDER BY b.id)
    FROM bets AS b WHERE b.round_id = p_round_id;
END
$$;

CREATE FUNCTION draw_round(
    p_round_id bigint, p_bets_count integer, p_bets_root bytea, p_lock_hash bytea, p_seed bytea, p_numbers bytea, p_mask bytea, p_result bytea
) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM fence();
    UPDATE rounds SET phase = 'drawn', bets_count = p_bets_count, bets_root = p_bets_root, lock_hash = p_lock_hash, seed = p_seed,
        numbers = p_numbers, drawn_mask = p_mask, result = p_result
    WHERE id = p_round_id AND phase = 'locked';
    PERFORM tell('round.locked', p_round_id, jsonb_build_object('lock', encode(p_lock_hash, 'hex'), 'bets_count', p_bets_count));
    PERFORM tell('round.drawn', p_round_id, jsonb_build_object('numbers', encode(p_numbers, 'hex')));
END
$$;

CREATE FUNCTION settle_round(p_round_id bigint) RETURNS void
    LANGUAGE plpgsql AS $$
DECLARE
    paid record;
BEGIN
    PERFORM FROM rounds WHERE id = p_round_id AND phase = 'drawn' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO payouts (bet_id, round_id, account_id, payout_minor)
    SELECT b.id, p_round_id, b.account_id, b.stake_minor * m.hundredths / 100
    FROM rounds AS r
    JOIN bets AS b ON b.round_id = r.id
    JOIN multipliers AS m ON m.picks = bit_count(b.picks)
        AND m.hits = bit_count(('x' || encode(b.picks, 'hex'))::bit(80) & ('x' || encode(r.drawn_mask, 'hex'))::bit(80))
    WHERE r.id = p_round_id AND m.hundredths > 0;
    SELECT count(*) AS count, coalesce(sum(payout_minor), 0) AS minor INTO paid FROM payouts WHERE round_id = p_round_id;
    INSERT INTO totals SELECT p_round_id, count(*), coalesce(sum(b.stake_minor), 0), paid.minor FROM bets AS b WHERE b.round_id = p_round_id;
    UPDATE rounds SET phase = 'settled', ended_ms = now_ms() WHERE id = p_round_id;
    PERFORM tell('round.settled', p_round_id, jsonb_build_object('payouts_count', paid.count));
END
$$;

CREATE FUNCTION credit_round(p_round_id bigint) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO credits SELECT p_round_id, count(*) FROM payouts WHERE round_id = p_round_id ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM FROM accounts WHERE id IN (SELECT account_id FROM payouts WHERE round_id = p_round_id) ORDER BY id FOR NO KEY UPDATE;
    UPDATE accounts AS held SET balance_minor = balance_minor + credit.minor
    FROM (SELECT account_id, sum(payout_minor) AS minor FROM payouts WHERE round_id = p_round_id GROUP BY 1) AS credit
    WHERE held.id = credit.account_id;
END
$$;
