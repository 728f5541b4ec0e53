"""What the programs that serve HTTP have in common: a socket, limits for connections and requests, a certificate."""
