-- No round carries a lease epoch newer than its shard's, or older than that of a round opened before it in its room.
SELECT r.id AS round, r.lease_epoch
FROM rounds AS r
JOIN rooms AS room ON room.id = r.room_id
LEFT JOIN leases AS l ON l.shard = room.shard
LEFT JOIN public.rounds AS before ON before.room_id = r.room_id AND before.number = r.number - 1
WHERE l.epoch IS NULL OR r.lease_epoch > l.epoch OR (r.phase = 'settled' AND before.phase = 'settled' AND r.lease_epoch < before.lease_epoch)
