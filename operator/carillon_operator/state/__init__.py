"""What the operator has observed, and its work queue."""
