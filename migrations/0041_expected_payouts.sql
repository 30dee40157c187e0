-- What bets were expected to be paid before their draw: summed up by the settlement, kept by the hour, and checked against the odds.
-- depends: 0040_cheaper_acceptance

-- migrate: apply
-- Null where bets were settled before there was this sum: nothing was noted then, and nothing is made up now. No check, which would have to
-- read the tables to their end while nobody settles.
ALTER TABLE settlement_chunks ADD expected_parts numeric;
ALTER TABLE round_totals ADD expected_parts numeric;
ALTER TABLE revenue_hourly ADD expected_parts numeric;
COMMENT ON COLUMN round_totals.expected_parts IS
    'what the odds say that the bets are paid, maximum wins of a bet included, in parts of a minor unit: see odds_parts(); null is not known';
COMMENT ON COLUMN revenue_hourly.expected_parts IS 'the sum of those of its rounds; null where that of any round is not known';

-- The parts of a minor unit: the least common multiple of C(80, p) for 1 to 10 picks, so that each probability of hits is a whole number of them.
CREATE FUNCTION odds_parts() RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN 115254447708400::numeric;

-- How likely it is that so many picks are drawn, in 1/odds_parts().
CREATE FUNCTION hits_parts(picks integer, hits integer) RETURNS numeric
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN div(odds_parts(), div(factorial(80), factorial(80 - picks) * factorial(picks)))
        * div(factorial(20), factorial(20 - hits) * factorial(hits))
        * div(factorial(60), factorial(60 - picks + hits) * factorial(picks - hits));

-- For the audit, from the published documents: what each number of hits pays by a round's terms.
CREATE VIEW payouts_by_hits AS
    SELECT t.rules_hash, t.terms, row.picks::integer AS picks, (entry.hits - 1)::integer AS hits, entry.multiplier::numeric AS multiplier,
        (p.document ->> 'scale')::numeric AS scale, c.win_max_minor
    FROM rules_terms AS t
    JOIN rules_currencies AS c ON c.rules_hash = t.rules_hash AND c.currency = t.currency
    JOIN (SELECT hash, convert_from(document, 'UTF8')::jsonb AS document FROM paytables) AS p ON p.hash = t.paytable_hash
    CROSS JOIN LATERAL jsonb_each(p.document -> 'multipliers') AS row (picks, multipliers)
    CROSS JOIN LATERAL jsonb_array_elements_text(row.multipliers) WITH ORDINALITY AS entry (multiplier, hits);
GRANT SELECT ON payouts_by_hits TO keno_app;

-- migrate: rollback
