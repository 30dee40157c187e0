-- What the bets of a settled round were expected to be paid, where it was noted, is the sum of their possible payouts by the odds and the published terms.
WITH staked AS MATERIALIZED (
    SELECT b.round_id, b.operator_id, b.terms, bit_count(b.picks)::integer AS picks, b.stake_minor, count(*) AS bets_count
    FROM bets AS b
    GROUP BY b.round_id, b.operator_id, b.terms, bit_count(b.picks), b.stake_minor
), kinds AS MATERIALIZED (
    -- A name for what it is joined by: of several columns the planner would think that they hardly ever meet.
    SELECT s.*, r.rules_hash, concat(r.rules_hash, '/', s.terms, '/', s.picks) AS of, concat(r.rules_hash, '/', s.terms, '/', s.picks, '/', s.stake_minor) AS kind
    FROM staked AS s JOIN rounds AS r ON r.id = s.round_id AND r.phase = 'settled'
), weights AS MATERIALIZED (
    SELECT picks, hits, hits_parts(picks, hits) AS parts FROM generate_series(1, 10) AS picks CROSS JOIN LATERAL generate_series(0, picks) AS hits
), odds AS MATERIALIZED (
    SELECT concat(o.rules_hash, '/', o.terms, '/', o.picks) AS of, o.multiplier, o.scale, o.win_max_minor, w.parts
    FROM payouts_by_hits AS o JOIN weights AS w ON w.picks = o.picks AND w.hits = o.hits
    WHERE o.multiplier > 0 AND o.rules_hash IN (SELECT k.rules_hash FROM kinds AS k)
), worth AS MATERIALIZED (
    SELECT k.kind, sum(o.parts * least(div(k.stake_minor * o.multiplier, o.scale), o.win_max_minor)) AS parts
    FROM (SELECT DISTINCT kind, of, stake_minor FROM kinds) AS k JOIN odds AS o ON o.of = k.of
    GROUP BY k.kind
), booked AS (
    SELECT k.round_id, k.operator_id, t.currency, sum(k.bets_count * coalesce(w.parts, 0)) AS parts
    FROM kinds AS k
    JOIN rules_terms AS t ON t.rules_hash = k.rules_hash AND t.terms = k.terms
    LEFT JOIN worth AS w ON w.kind = k.kind
    GROUP BY k.round_id, k.operator_id, t.currency
)
SELECT t.round_id AS round, t.currency, t.expected_parts, k.parts AS booked_parts
FROM round_totals AS t
LEFT JOIN booked AS k ON k.round_id = t.round_id AND k.operator_id = t.operator_id AND k.currency = t.currency
WHERE t.expected_parts IS NOT NULL AND t.expected_parts IS DISTINCT FROM k.parts
