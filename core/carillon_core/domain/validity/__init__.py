"""What is wrong with a spec, what may surprise in it, and in which words that is said."""
