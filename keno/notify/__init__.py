"""What the services tell each other and the players."""
