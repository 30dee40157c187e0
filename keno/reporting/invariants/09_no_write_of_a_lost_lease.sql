-- No round carries a lease epoch newer than its shard's, or older than that of a round opened before it in its room.
SELECT r.id AS round, r.lease_epoch
FROM (
    SELECT id, room_id, lease_epoch, phase, lag(lease_epoch) OVER (PARTITION BY room_id ORDER BY number) AS before,
        lag(phase) OVER (PARTITION BY room_id ORDER BY number) AS phase_before
    FROM rounds
) AS r
JOIN rooms AS room ON room.id = r.room_id
LEFT JOIN leases AS l ON l.shard = room.shard
WHERE l.epoch IS NULL OR r.lease_epoch > l.epoch OR (r.phase = 'settled' AND r.phase_before = 'settled' AND r.lease_epoch < r.before)
