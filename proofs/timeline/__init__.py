"""A year of tasks in virtual time: a simulated cluster, an operator that fails, and an oracle that counts slots."""
