-- What a room will be from its next slot on, and the end of its openings.
-- depends: 0018_credits_of_rounds

-- migrate: apply
CREATE TABLE room_changes (
    room_id uuid PRIMARY KEY REFERENCES rooms,
    period_ms integer NOT NULL CHECK (period_ms BETWEEN 2000 AND 60000),
    lock_lead_ms integer NOT NULL CHECK (lock_lead_ms BETWEEN 1 AND period_ms - 1),
    rules_hash bytea NOT NULL REFERENCES rules,
    asked_ms bigint NOT NULL DEFAULT now_ms(),
    waiting boolean NOT NULL DEFAULT true
);
CREATE INDEX room_changes_waiting ON room_changes (room_id) WHERE waiting;
COMMENT ON TABLE room_changes IS
    'the latest change of each room; while it waits for a slot to begin, the scheduler, who alone knows when that is, has still to make it';

GRANT SELECT, INSERT ON room_changes TO keno_app;
GRANT UPDATE (period_ms, lock_lead_ms, rules_hash, asked_ms, waiting) ON room_changes TO keno_app;
GRANT UPDATE (period_ms, lock_lead_ms, slot_epoch_ms) ON rooms TO keno_app;

-- Takes the changes whose rooms are due to open their next round, and have a round for every slot before it, into the rooms. The next
-- number follows the last; its round is on sale for a whole new period after the sales of the last, and is drawn at least that long after
-- the last: slot_epoch_ms is moved to where the formula of the slots says so. For the scheduler, under its lease.
CREATE FUNCTION apply_room_changes(p_shard integer, p_lease_epoch bigint, at_ms bigint) RETURNS void
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

-- Exclusive against open_due_rounds(): once this has returned no round of the room opens, and when its transaction ends none ever will.
CREATE FUNCTION close_room(p_room_id uuid) RETURNS boolean
    LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(7306, room.shard) FROM rooms AS room WHERE room.id = p_room_id;
    UPDATE room_changes AS c SET waiting = false WHERE c.room_id = p_room_id AND c.waiting;
    UPDATE rooms AS room SET status = 'closed' WHERE room.id = p_room_id AND room.status = 'open';
    RETURN FOUND;
END
$$;

-- migrate: rollback
