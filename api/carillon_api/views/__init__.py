"""The mapping from resources and rows to responses."""
