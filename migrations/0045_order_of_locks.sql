-- A change is made to its room in the order in which it is asked for: the room first.
-- depends: 0044_rounds_of_a_shard

-- migrate: apply
CREATE OR REPLACE FUNCTION apply_room_changes(p_shard integer, p_lease_epoch bigint, at_ms bigint) RETURNS void
    LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM room_changes AS c WHERE c.waiting) THEN
        RETURN;
    END IF;
    WITH due AS MATERIALIZED (
        SELECT room.id AS room_id, room.lock_lead_ms, last.number, room.slot_epoch_ms + last.number * room.period_ms AS last_draw_ms
        FROM room_changes AS c
        JOIN rooms AS room ON room.id = c.room_id
        CROSS JOIN LATERAL (SELECT coalesce(max(r.number), 0) AS number FROM rounds AS r WHERE r.room_id = room.id) AS last
        WHERE c.waiting AND room.shard = p_shard AND room.status = 'open' AND at_ms + room.lock_lead_ms >= room.slot_epoch_ms
            AND (at_ms + room.lock_lead_ms - room.slot_epoch_ms) / room.period_ms = last.number
        -- Whoever sets a room holds it before the change: the other way round each would wait for the other.
        FOR NO KEY UPDATE OF room
    ), taken AS (
        UPDATE room_changes AS c SET waiting = false FROM due AS d WHERE c.room_id = d.room_id AND c.waiting
        RETURNING c.room_id, c.period_ms, c.lock_lead_ms, c.rules_hash, d.number,
            d.last_draw_ms + greatest(c.lock_lead_ms - d.lock_lead_ms, 0) - d.number * c.period_ms AS slot_epoch_ms
    ), changed AS (
        UPDATE rooms AS room SET period_ms = t.period_ms, lock_lead_ms = t.lock_lead_ms, rules_hash = t.rules_hash,
            slot_epoch_ms = t.slot_epoch_ms
        FROM taken AS t WHERE room.id = t.room_id
        RETURNING t.*
    )
    INSERT INTO audit_logs (actor, action, subject, detail)
    SELECT 'scheduler', 'room.changed', c.room_id::text, jsonb_build_object('first', c.number + 1, 'period_ms', c.period_ms,
        'lock_lead_ms', c.lock_lead_ms, 'slot_epoch_ms', c.slot_epoch_ms, 'rules', encode(c.rules_hash, 'hex'), 'lease_epoch', p_lease_epoch)
    FROM changed AS c ORDER BY c.room_id;
END
$$;

-- migrate: rollback
