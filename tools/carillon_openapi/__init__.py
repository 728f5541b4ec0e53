"""Check api/openapi.json with Redocly CLI, Spectral and openapi-python-client; ``make lint`` calls ``lint``."""
