-- Every entry of the log is hashed, is of an epoch or round that is there, the only one of its kind, and behind what it follows from: a lock behind its epoch and the lock before it, an outcome behind its lock.
SELECT 'hash' AS kind, e.index AS entry FROM log_entries AS e WHERE e.leaf_hash <> sha256('\x00'::bytea || e.entry) OR substring(e.entry FROM 10 FOR 1) <> set_byte('\x00', 0, e.kind)
UNION ALL
SELECT 'second', e.index
FROM log_entries AS e
JOIN public.log_entries AS other ON other.room_id = e.room_id AND other.series = e.series AND other.number = e.number AND other.index <> e.index
UNION ALL
SELECT 'epoch', e.index
FROM log_entries AS e LEFT JOIN public.epochs AS o ON o.room_id = e.room_id AND o.first_round = e.number
WHERE e.series = 1 AND o.id IS NULL
UNION ALL
SELECT 'lock', e.index
FROM log_entries AS e
LEFT JOIN public.rounds AS r ON r.room_id = e.room_id AND r.number = e.number AND r.lock_hash IS NOT NULL
LEFT JOIN public.epochs AS o ON o.id = r.epoch_id
LEFT JOIN public.log_entries AS opened ON opened.room_id = e.room_id AND opened.series = 1 AND opened.number = o.first_round AND opened.index < e.index
WHERE e.series = 2 AND opened.index IS NULL
UNION ALL
SELECT 'outcome', e.index
FROM log_entries AS e
LEFT JOIN public.rounds AS r ON r.room_id = e.room_id AND r.number = e.number AND r.seed IS NOT NULL
LEFT JOIN public.log_entries AS lock ON lock.room_id = e.room_id AND lock.series = 2 AND lock.number = e.number AND lock.index < e.index
WHERE e.series = 3 AND (r.id IS NULL OR lock.index IS NULL)
UNION ALL
SELECT 'lock before', e.index
FROM log_entries AS e
LEFT JOIN public.log_entries AS before ON before.room_id = e.room_id AND before.series = 2 AND before.index < e.index
    AND before.number = ('x' || encode(substring(e.entry FROM 219 FOR 8), 'hex'))::bit(64)::bigint
WHERE e.series = 2 AND substring(e.entry FROM 219 FOR 8) <> int8send(0) AND before.index IS NULL
