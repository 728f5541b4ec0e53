"""Leader election with a Lease, the fence for writes, and the end of background tasks."""
