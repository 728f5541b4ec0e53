"""What is streamed."""
