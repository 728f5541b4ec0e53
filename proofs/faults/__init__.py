"""``make faults``: the proof that no slot is lost or run twice, whatever fails.

The operator runs as a process against the real API server, through a proxy
that counts its writes and the watch events it gets, and injects a fault at
one of them. An oracle that shares nothing with the operator but the calculus
of slots then judges the Jobs, the rows and the hits. After Sieve (OSDI 2022):
intermediate, stale and unobserved states.
"""
