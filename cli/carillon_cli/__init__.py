"""The client: ``carillon next`` and ``carillon explain``, without a cluster."""
