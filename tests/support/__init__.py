"""What the tests stand on: the servers they find or start, and databases of their own."""
