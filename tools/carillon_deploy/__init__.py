"""The chart in a trial cluster: kind, minikube, or the cluster of the current kubeconfig."""
