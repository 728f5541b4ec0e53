"""Fixtures that every test can ask for; nothing is started until one does."""

pytest_plugins = ["support.cluster", "support.postgres", "support.runner"]
