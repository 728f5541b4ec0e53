"""Simulates a year of tasks in virtual time: a cluster, an operator that fails, and an oracle that counts slots."""
