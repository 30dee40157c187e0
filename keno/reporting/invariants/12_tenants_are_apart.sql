-- A bet is paid from a player's account, its operator is that of the account and the player, and the room is shared or the operator's own.
SELECT b.id AS bet
FROM bets AS b
JOIN accounts AS a ON a.id = b.account_id
LEFT JOIN players AS p ON p.id = a.player_id
JOIN rounds AS r ON r.id = b.round_id
JOIN rooms AS room ON room.id = r.room_id
WHERE b.operator_id <> a.operator_id OR a.operator_id IS DISTINCT FROM p.operator_id OR room.operator_id <> b.operator_id
