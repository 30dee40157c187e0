"""The tables that grow: partitions made ahead of the rounds, old ones taken out, receipts forgotten."""
