-- What quick acceptance reads: accounts that know their player, bounds of the ids in a partition, and limits of a round's exposure.
-- depends: 0012_partitions

-- migrate: apply
-- Bets of before are written down as bounds below, and no more of them come meanwhile.
LOCK TABLE bets IN SHARE ROW EXCLUSIVE MODE;

-- What a bet needs of its player stands in the account, so that one look-up finds both. Nobody but these triggers writes it.
-- A page has room for a new version of each of its rows: a batch that bets for all of them touches no index.
ALTER TABLE accounts SET (fillfactor = 50);
ALTER TABLE accounts
    ADD player_reference text COLLATE "C",
    ADD blocked boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN accounts.player_reference IS 'the reference of the player, and in `blocked` its status: copied from players';
UPDATE accounts AS a SET player_reference = p.reference, blocked = p.status = 'blocked' FROM players AS p WHERE p.id = a.player_id;
ALTER TABLE accounts ADD CHECK ((player_id IS NULL) = (player_reference IS NULL));
CREATE UNIQUE INDEX accounts_by_reference ON accounts (operator_id, player_reference, currency) WHERE kind = 'player';

CREATE FUNCTION copy_player() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    -- The share lock lets a player be blocked before or after, not in between.
    SELECT p.reference, p.status = 'blocked' INTO NEW.player_reference, NEW.blocked FROM players AS p WHERE p.id = NEW.player_id FOR SHARE;
    RETURN NEW;
END
$$;
CREATE TRIGGER copy_player BEFORE INSERT ON accounts FOR EACH ROW WHEN (NEW.kind = 'player') EXECUTE FUNCTION copy_player();

CREATE FUNCTION copy_player_status() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE accounts AS a SET blocked = NEW.status = 'blocked' WHERE a.player_id = NEW.id AND a.kind = 'player';
    RETURN NULL;
END
$$;
CREATE TRIGGER copy_player_status AFTER UPDATE OF status ON players FOR EACH ROW EXECUTE FUNCTION copy_player_status();

-- Up to where an operator's ids reach in a partition: none of its bets there has an id that begins with more than the highest of these.
-- Operators whose ids grow with time (UUIDv7, ULID) leave a partition's bounds behind, and their later ids need not be looked for in it.
-- Rows are only added, when a batch goes beyond what it sees: nobody waits for another, and a bound may stand here twice.
CREATE TABLE bet_id_bounds (
    operator_id uuid NOT NULL,
    ids_to text COLLATE "C" NOT NULL,
    first_round bigint NOT NULL REFERENCES bet_partitions ON DELETE CASCADE
);
CREATE INDEX bet_id_bounds_of_operator ON bet_id_bounds (operator_id, ids_to, first_round);
CREATE INDEX bet_id_bounds_of_partition ON bet_id_bounds (first_round);
GRANT SELECT, INSERT ON bet_id_bounds TO keno_app;

-- What a bound is made of. Of a UUIDv7 it is a span of 17 minutes, of a ULID 32 seconds.
CREATE FUNCTION id_beginning(transaction_id text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN left(transaction_id, least(length(transaction_id) / 2, 7));

INSERT INTO bet_id_bounds (operator_id, ids_to, first_round)
SELECT b.operator_id, max(id_beginning(b.transaction_id) COLLATE "C"), p.first_round FROM bets AS b
JOIN bet_partitions AS p ON b.round_id >= p.first_round AND b.round_id < p.end_round GROUP BY b.operator_id, p.first_round;

-- The most that a round may cost an operator if all of its bets won the most they can.
ALTER TABLE operator_limits
    ADD round_exposure_max_minor bigint CHECK (round_exposure_max_minor >= 0),
    ADD changes_count integer NOT NULL DEFAULT 0;
COMMENT ON TABLE operator_limits IS
    'What each player of an operator may bet in one round: how many bets, and how much in all of them together; and the largest exposure of a '
    'round: the sum of what its bets can win at most.';
GRANT UPDATE (round_exposure_max_minor, changes_count) ON operator_limits TO keno_app;

CREATE TABLE paytable_tops (
    paytable_hash bytea PRIMARY KEY REFERENCES paytables,
    scale bigint NOT NULL CHECK (scale > 0),
    tops bigint[] NOT NULL CHECK (cardinality(tops) = 10)
);
COMMENT ON TABLE paytable_tops IS 'the highest multiplier of 1 to 10 picks, in units of 1/scale: derived from the paytable''s document';
INSERT INTO paytable_tops (paytable_hash, scale, tops)
SELECT p.hash, (d.document ->> 'scale')::bigint, (
    SELECT array_agg((SELECT max(m::bigint) FROM jsonb_array_elements_text(d.document -> 'multipliers' -> picks::text) AS m) ORDER BY picks)
    FROM generate_series(1, 10) AS picks)
FROM paytables AS p CROSS JOIN LATERAL (SELECT convert_from(p.document, 'UTF8')::jsonb) AS d (document);
CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON paytable_tops FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
GRANT SELECT, INSERT ON paytable_tops TO keno_app;

CREATE TABLE round_exposures (
    round_id bigint NOT NULL,
    operator_id uuid NOT NULL,
    currency text COLLATE "C" NOT NULL,
    changes_count integer NOT NULL,
    exposure_minor bigint NOT NULL,
    PRIMARY KEY (round_id, operator_id, currency, changes_count)
) WITH (fillfactor = 50);
COMMENT ON TABLE round_exposures IS
    'The exposure of a round while an operator limits it, counted up by acceptance; begun anew from the bets when its limits change.';
GRANT SELECT, INSERT ON round_exposures TO keno_app;
GRANT UPDATE (exposure_minor) ON round_exposures TO keno_app;

-- What a bet can win at most: the highest multiplier of so many picks, cut by the maximum win.
CREATE FUNCTION win_max_minor(picks bytea, stake_minor bigint, p_paytable_hash bytea, win_max_minor bigint) RETURNS bigint
    LANGUAGE sql STABLE AS $$
    SELECT least(win_max_minor, (SELECT div(stake_minor::numeric * t.tops[bit_count(picks)], t.scale) FROM paytable_tops AS t
        WHERE t.paytable_hash = p_paytable_hash))::bigint
$$;

-- The exposure of a round that its bets add up to.
CREATE FUNCTION round_exposure(p_round_id bigint, p_operator_id uuid, p_currency text) RETURNS bigint
    LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(win_max_minor(b.picks, b.stake_minor, t.paytable_hash, c.win_max_minor)), 0)::bigint
    FROM bets AS b
    JOIN rounds AS r ON r.id = b.round_id
    JOIN rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = b.terms
    JOIN rules_currencies AS c ON c.rules_hash = r.rules_hash AND c.currency = t.currency
    WHERE b.round_id = p_round_id AND b.operator_id = p_operator_id AND t.currency = p_currency
$$;

-- migrate: rollback
