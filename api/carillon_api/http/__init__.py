"""HTTP: problems, bodies, preconditions, pages, cursors, caches, and the server's protocol."""
