"""Observing the cluster: kopf handlers, watches, the admission webhook, refused pods."""
