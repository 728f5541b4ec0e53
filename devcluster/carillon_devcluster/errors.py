"""Errors of the local cluster. Each message is one sentence and says what to do."""


class ClusterError(Exception):
    """The base of the local cluster's errors."""


class ToolchainError(ClusterError):
    """A suitable version of Go is missing and could not be installed."""


class BuildError(ClusterError):
    """The cluster's program could not be built."""


class NotRunningError(ClusterError):
    """The operation needs a running cluster."""


class StartTimeoutError(ClusterError):
    """The cluster did not become ready in time."""


class PartDiedError(ClusterError):
    """A part of the cluster exited unexpectedly."""
