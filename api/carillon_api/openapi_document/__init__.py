"""The OpenAPI document and its pages: FastAPI's document, completed."""
