-- The rounds of a room are numbered from 1 without a gap: each but the first has one before it.
SELECT r.room_id, r.number
FROM rounds AS r LEFT JOIN public.rounds AS before ON before.room_id = r.room_id AND before.number = r.number - 1
WHERE r.number > 1 AND before.id IS NULL
