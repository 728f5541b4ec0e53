"""A task type of somebody else's."""

from carillon_runner.plugins import Execution


def shout(execution: Execution) -> dict[str, str]:
    """Return what is said, loudly."""
    return {"said": str(execution.parameters["words"]).upper()}
