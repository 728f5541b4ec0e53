"""Carillon on one machine: what ``make run``, ``make stop`` and their like do."""
