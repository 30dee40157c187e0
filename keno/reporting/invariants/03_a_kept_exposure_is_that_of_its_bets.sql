-- The exposure that is kept for a round is what its bets can win at most together, by their paytables.
WITH kept AS (
    SELECT e.round_id, e.operator_id, e.currency, e.exposure_minor
    FROM round_exposures AS e
    JOIN public.operator_limits AS l USING (operator_id, currency, changes_count)
), tops AS (
    SELECT p.hash, (d.document ->> 'scale')::numeric AS scale, ARRAY(
        SELECT (SELECT max(m::bigint) FROM jsonb_array_elements_text(d.document -> 'multipliers' -> picks::text) AS m)
        FROM generate_series(1, 10) AS picks ORDER BY picks) AS multipliers
    FROM public.paytables AS p CROSS JOIN LATERAL (SELECT convert_from(p.document, 'UTF8')::jsonb) AS d (document)
), won AS (
    SELECT b.round_id, b.operator_id, t.currency,
        sum(least(c.win_max_minor, div(b.stake_minor * p.multipliers[bit_count(b.picks)], p.scale))) AS minor
    FROM (SELECT DISTINCT k.round_id, k.operator_id FROM kept AS k) AS limited
    JOIN bets AS b ON b.round_id = limited.round_id AND b.operator_id = limited.operator_id
    JOIN rounds AS r ON r.id = b.round_id
    JOIN public.rules_terms AS t ON t.rules_hash = r.rules_hash AND t.terms = b.terms
    JOIN public.rules_currencies AS c ON c.rules_hash = r.rules_hash AND c.currency = t.currency
    JOIN tops AS p ON p.hash = t.paytable_hash
    GROUP BY b.round_id, b.operator_id, t.currency
)
SELECT k.round_id, k.operator_id, k.currency, k.exposure_minor, coalesce(w.minor, 0) AS bets_can_win_minor
FROM kept AS k LEFT JOIN won AS w USING (round_id, operator_id, currency)
WHERE k.exposure_minor <> coalesce(w.minor, 0)
