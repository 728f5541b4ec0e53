"""The operator: kopf observes ScheduledTasks, ``decide`` plans, the reconciler carries out."""
