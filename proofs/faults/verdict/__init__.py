"""What the harness observed, and the oracle that judges it."""
