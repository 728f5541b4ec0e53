"""Errors of the local cluster. Each message is one sentence and says what to do."""


class ClusterError(Exception):
    """Anything that keeps the local cluster from doing what was asked."""


class ToolchainError(ClusterError):
    """There is no suitable Go, and none could be installed."""


class BuildError(ClusterError):
    """The cluster's program could not be built."""


class NotRunningError(ClusterError):
    """The cluster is asked for something that only a running one can do."""


class StartTimeoutError(ClusterError):
    """The cluster did not become ready in time."""


class PartDiedError(ClusterError):
    """A part of the cluster ended by itself."""
