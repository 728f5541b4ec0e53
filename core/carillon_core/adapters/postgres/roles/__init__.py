"""Creates, restricts and verifies the database roles of the runners and of the API."""
