"""Builds the container images with the available engine, a base image if none can be pulled, and their SBOM."""
