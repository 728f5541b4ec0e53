"""The addresses that HTTP tasks may connect to."""
