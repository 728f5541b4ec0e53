"""The faults that a plan injects, where they strike, and which plans a seed gives. Pure."""
