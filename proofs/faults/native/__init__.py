"""The same plans for Kubernetes' own CronJob controller, judged by the same oracle."""
