"""Reports: what is read for them, with the caller's permissions, and within bounds. The routes call them."""
