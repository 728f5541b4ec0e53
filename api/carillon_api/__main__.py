"""``python -m carillon_api``: the facade's process, composed of the real adapters."""

STOPPED, CANNOT_LISTEN, MISCONFIGURED = 0, 1, 2
GRACE_SECONDS = 20
"""How long requests under way may take when the process is told to stop; a kubelet waits 30."""
