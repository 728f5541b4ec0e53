"""Tools for the Helm chart: rendering, checks, and its README."""
