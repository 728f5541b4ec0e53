"""The proof of Carillon: its operator, its recorder and Postgres under faults."""
