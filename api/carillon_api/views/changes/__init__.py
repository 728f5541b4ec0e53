"""What a change would do, computed. Pure."""
