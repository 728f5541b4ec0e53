"""Renews the certificate of the admission webhook where the chart made it."""
