-- What the log says of a round's epoch, lock and outcome is what is stored, byte for byte, and it says so five minutes after the lock or the draw at the latest.
WITH sealed AS (
    SELECT r.*, (SELECT b.number FROM public.rounds AS b WHERE b.room_id = r.room_id AND b.number < r.number AND b.lock_hash IS NOT NULL
        ORDER BY b.number DESC LIMIT 1) AS prev_number
    FROM rounds AS r WHERE r.lock_hash IS NOT NULL
), stored AS (
    SELECT s.id AS round, s.room_id, s.number, 2 AS kind, s.locked_ms AS since_ms, s.lock_hash || s.commit_hash || s.rules_hash || s.bets_root
        || int8send(s.bets_count) || int8send(s.locked_ms) || int8send(s.beacon_round) || s.prev_lock || int8send(coalesce(s.prev_number, 0)) AS said
    FROM sealed AS s
    UNION ALL
    SELECT s.id, s.room_id, s.number, 3, s.drawn_ms, s.result || s.lock_hash || s.seed
        || CASE WHEN length(s.beacon_sig) > 0 THEN sha256(s.beacon_sig) ELSE decode(repeat('00', 32), 'hex') END || s.numbers || int8send(s.drawn_ms)
    FROM sealed AS s WHERE s.result IS NOT NULL
    UNION ALL
    SELECT s.id, s.room_id, s.number, 4, s.ended_ms, sha256('keno1:void'::bytea || s.lock_hash || s.seed || set_byte('\x00', 0, s.void_reason))
        || s.lock_hash || s.seed || set_byte('\x00', 0, s.void_reason) || int8send(s.ended_ms)
    FROM sealed AS s WHERE s.phase = 'void'
    UNION ALL
    SELECT opened.round, e.room_id, e.first_round, 1, opened.since_ms, e.hash || int4send(e.rounds_count) || e.commits_root || e.key_commit || int8send(e.opened_ms)
    FROM (SELECT s.epoch_id, min(s.id) AS round, min(s.locked_ms) AS since_ms FROM sealed AS s GROUP BY s.epoch_id) AS opened
    JOIN public.epochs AS e ON e.id = opened.epoch_id
)
SELECT s.round, s.kind, l.index AS entry
FROM stored AS s
LEFT JOIN public.log_entries AS l ON l.room_id = s.room_id AND l.series = least(s.kind, 3) AND l.number = s.number
WHERE (l.index IS NULL AND s.since_ms < (SELECT a.at_ms FROM asked AS a) - 300000)
    OR l.entry <> 'keno1:log'::bytea || set_byte('\x00', 0, s.kind) || uuid_send(s.room_id) || int8send(s.number) || s.said
