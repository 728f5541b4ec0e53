"""Changes that are only asked about, and changes of many objects: bodies and responses."""
