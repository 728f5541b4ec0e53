"""The ports in memory, for tests: held to the same contract as the real ones."""
