"""Reports: query parameters and responses."""
