"""Observing the cluster: kopf handlers, watches, refused pods, logs of failed containers."""
