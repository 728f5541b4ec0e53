"""The operator: kopf observes objects, ``decide`` makes plans, the reconciler carries them out."""
