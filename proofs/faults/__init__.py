"""``make faults``: proves that no slot is lost or run twice when something fails.

The operator runs as a process against a real API server, through a proxy that
counts its writes and watch events and injects a fault at one of them. An
oracle that shares only the computation of slots with the operator then checks
Jobs, rows and hits. After Sieve (OSDI 2022): intermediate, stale and
unobserved states.
"""
