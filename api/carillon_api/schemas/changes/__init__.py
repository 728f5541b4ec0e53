"""Dry runs, and changes of many objects: bodies and responses."""
