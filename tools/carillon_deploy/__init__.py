"""The chart in a cluster at hand: kind, minikube, or whatever the current kubeconfig names."""
