"""Deploys the chart to a trial cluster: kind, minikube, or the cluster of the current kubeconfig."""
