"""Dry runs, and changes of many objects."""
