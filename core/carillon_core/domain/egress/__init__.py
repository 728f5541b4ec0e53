"""Where HTTP tasks may connect to."""
