-- Every void round has its row in the audit trail, with its reason, and its event and that of its refunds for as long as the outbox keeps events.
WITH told AS (
    SELECT (o.payload ->> 'round')::bigint AS round_id, count(*) FILTER (WHERE o.routing_key = 'round.voided') AS voided,
        min(o.payload ->> 'reason') AS reason, count(*) FILTER (WHERE o.routing_key = 'wallet.refunded') AS refunded
    FROM outbox AS o WHERE o.routing_key IN ('round.voided', 'wallet.refunded') GROUP BY 1
), logged AS (
    SELECT l.detail ->> 'round' AS round, count(*) AS rows, min(l.detail ->> 'reason') AS reason
    FROM audit_logs AS l WHERE l.action = 'round.voided' GROUP BY 1
)
SELECT r.id AS round, r.void_reason, t.voided, t.refunded, l.rows AS audit_rows
FROM rounds AS r
LEFT JOIN told AS t ON t.round_id = r.id
LEFT JOIN logged AS l ON l.round = r.id::text
LEFT JOIN round_credits AS c ON c.round_id = r.id
WHERE r.phase = 'void' AND (
    (l.rows, l.reason) IS DISTINCT FROM (1, r.void_reason::text)
    -- As in 11_settled_rounds_are_told.
    OR r.ended_ms >= (SELECT h.kept_since_ms + 60000 FROM outbox_horizon AS h)
        AND (t.voided, t.reason, t.refunded) IS DISTINCT FROM (1, r.void_reason::text, (c.round_id IS NOT NULL)::integer))
