"""Carrying out what was decided, one effect a module."""
