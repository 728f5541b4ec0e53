"""Between the operator and the API server: the proxy that counts each step and injects the faults."""
