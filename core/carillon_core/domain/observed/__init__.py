"""Jobs and pods as the cluster shows them, read once at the edge."""
