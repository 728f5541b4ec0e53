"""What HTTP asks for: problems, bodies, preconditions, pages, cursors, and the server itself."""
