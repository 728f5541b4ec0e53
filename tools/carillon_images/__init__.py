"""The container images: building them with the engine at hand, a base where none can be pulled, and their SBOM."""
