"""The bet lane: `POST /v1/bets` and `POST /v1/bets/batch` on a server of their own, without a web framework."""
