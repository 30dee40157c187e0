-- The exposures of rounds that have ended are forgotten: nothing is bet on them any more.
-- depends: 0030_anchors

-- migrate: apply

-- Deletes those of rounds that ended before the retention, looking at so many of the oldest; returns how many. The only way for the services
-- to delete any.
CREATE FUNCTION forget_exposures(p_retention_ms bigint, p_exposures_max integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    forgotten integer;
BEGIN
    WITH oldest AS MATERIALIZED (
        SELECT e.round_id, e.operator_id, e.currency, e.changes_count FROM round_exposures AS e
        ORDER BY e.round_id, e.operator_id, e.currency, e.changes_count LIMIT p_exposures_max
    )
    DELETE FROM round_exposures AS e USING oldest AS o JOIN rounds AS r ON r.id = o.round_id
    WHERE r.ended_ms < now_ms() - greatest(p_retention_ms, 0)
        AND (e.round_id, e.operator_id, e.currency, e.changes_count) = (o.round_id, o.operator_id, o.currency, o.changes_count);
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    RETURN forgotten;
END
$$;
REVOKE EXECUTE ON FUNCTION forget_exposures FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_exposures TO keno_app;

-- migrate: rollback
