-- A room stops selling only after the longest wait for a beacon.
-- depends: 0046_undrawn_rounds

-- migrate: apply
-- The open rooms of a shard that have a round waiting for its draw for three minutes or more. Nobody knows when it will be drawn, or whether,
-- so no stake is taken for those behind it. A round whose beacon does not come is void before: with the longest guard 125 s after its lock.
CREATE OR REPLACE FUNCTION undrawn_rooms(p_shard integer, at_ms bigint) RETURNS uuid[]
    LANGUAGE plpgsql STABLE
    SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan
    AS $$
DECLARE
    due_ms CONSTANT bigint := at_ms - 180000;
BEGIN
    RETURN ARRAY(
        SELECT r.room_id
        FROM (
            SELECT DISTINCT u.room_id FROM rounds AS u
            WHERE u.ended_ms IS NULL AND u.shard = p_shard AND u.lock_due_ms <= due_ms AND u.draw_due_ms <= due_ms AND u.phase = 'locked'
                AND u.locked_ms <= due_ms OFFSET 0
        ) AS r
        CROSS JOIN LATERAL (SELECT FROM rooms AS room WHERE room.id = r.room_id AND room.status = 'open' LIMIT 1) AS room
    );
END
$$;

-- migrate: rollback
