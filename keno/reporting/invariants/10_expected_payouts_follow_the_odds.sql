-- What the bets of a settled round were expected to be paid, where it was noted, is the sum of their possible payouts by the odds and the published terms.
WITH staked AS MATERIALIZED (
    SELECT b.round_id, b.operator_id, r.rules_hash, b.terms, bit_count(b.picks)::integer AS picks, b.stake_minor, count(*) AS bets_count
    FROM bets AS b JOIN rounds AS r ON r.id = b.round_id AND r.phase = 'settled'
    GROUP BY b.round_id, b.operator_id, r.rules_hash, b.terms, bit_count(b.picks), b.stake_minor
), worth AS MATERIALIZED (
    SELECT k.rules_hash, k.terms, k.picks, k.stake_minor, sum(o.parts * least(div(k.stake_minor * o.multiplier, o.scale), o.win_max_minor)) AS parts
    FROM (SELECT DISTINCT rules_hash, terms, picks, stake_minor FROM staked) AS k
    JOIN terms_odds AS o ON o.rules_hash = k.rules_hash AND o.terms = k.terms AND o.picks = k.picks
    GROUP BY k.rules_hash, k.terms, k.picks, k.stake_minor
), booked AS (
    SELECT s.round_id, s.operator_id, t.currency, sum(s.bets_count * w.parts) AS parts
    FROM staked AS s
    JOIN rules_terms AS t ON t.rules_hash = s.rules_hash AND t.terms = s.terms
    LEFT JOIN worth AS w ON w.rules_hash = s.rules_hash AND w.terms = s.terms AND w.picks = s.picks AND w.stake_minor = s.stake_minor
    GROUP BY s.round_id, s.operator_id, t.currency
)
SELECT t.round_id AS round, t.currency, t.expected_parts, k.parts AS booked_parts
FROM round_totals AS t
LEFT JOIN booked AS k ON k.round_id = t.round_id AND k.operator_id = t.operator_id AND k.currency = t.currency
WHERE t.expected_parts IS NOT NULL AND t.expected_parts IS DISTINCT FROM k.parts
