"""The observed outcome, and the oracle that judges it."""
