"""The OpenAPI document and its pages: what FastAPI finds, completed."""
