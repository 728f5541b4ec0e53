"""A third-party task type."""

from carillon_runner.plugins import Execution


def shout(execution: Execution) -> dict[str, str]:
    """Return the words in capitals."""
    return {"said": str(execution.parameters["words"]).upper()}
