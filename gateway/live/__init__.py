"""The live stream at `/v1/live`: WebSockets of players and spectators, in a process of their own."""
