"""The observed state of the cluster, and the work queue."""
