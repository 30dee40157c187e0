-- A draw is 20 distinct numbers of 1 to 80, from the seed that was released against the lock, under a commitment older than the first bet.
SELECT r.id AS round
FROM rounds AS r
JOIN epochs AS e ON e.id = r.epoch_id
LEFT JOIN seed_releases AS released ON released.round_id = r.id
WHERE (r.numbers IS NOT NULL AND (SELECT count(DISTINCT get_byte(r.numbers, i)) FROM generate_series(0, 19) AS i
        WHERE get_byte(r.numbers, i) BETWEEN 1 AND 80) <> 20)
    OR (r.seed IS NOT NULL AND (released.seed IS DISTINCT FROM r.seed OR released.lock_hash IS DISTINCT FROM r.lock_hash))
    OR e.opened_ms > r.opened_ms
    OR e.commits IS NULL
    OR substring(e.commits FROM (32 * (r.number - e.first_round) + 1)::integer FOR 32) <> r.commit_hash
