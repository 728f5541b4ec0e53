"""Which operator decides and writes: the Lease, the fence, and how background work ends."""
