"""Carillon on one machine: implements ``make run``, ``make stop`` and related targets."""
