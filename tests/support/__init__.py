"""What several tests share: builders, fixtures, waiting."""
