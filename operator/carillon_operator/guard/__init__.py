"""Keeps one object from stopping the operator: what is being decided is noted, limited, and set aside if it fails."""
