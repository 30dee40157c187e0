"""What faces the outside: the operators' signed API and, later, the bet lane, the live stream and the portal."""
