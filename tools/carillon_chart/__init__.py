"""The Helm chart's tools: what it is rendered and checked with, and its README."""
