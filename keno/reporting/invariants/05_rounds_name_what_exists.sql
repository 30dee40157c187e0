-- The room, rules and epoch of every round are there, and its number is one of its epoch's: the table has no foreign keys, for speed.
SELECT r.id AS round
FROM rounds AS r
LEFT JOIN rooms AS room ON room.id = r.room_id
LEFT JOIN rules ON rules.hash = r.rules_hash
LEFT JOIN epochs AS e ON e.id = r.epoch_id AND e.room_id = r.room_id AND r.number >= e.first_round AND r.number < e.first_round + e.rounds_count
WHERE room.id IS NULL OR rules.hash IS NULL OR (r.epoch_id IS NOT NULL AND e.id IS NULL)
