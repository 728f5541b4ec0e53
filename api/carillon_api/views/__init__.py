"""From resources and rows to what is answered."""
