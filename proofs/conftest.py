"""The fixtures of the tests, for the proofs that pytest runs: ``make kueue``, ``make cronjobs`` and ``make e2e``."""

pytest_plugins = ["support.cluster", "support.postgres", "support.runner"]
