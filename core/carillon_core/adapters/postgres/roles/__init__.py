"""The database roles of the runners and of the API: made, limited, and verified."""
