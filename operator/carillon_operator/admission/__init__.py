"""What is checked when objects are written, and the webhook that does it."""
