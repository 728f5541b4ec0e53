"""The names of the headers that several packages use."""

API_KEY_HEADER = "X-API-Key"
IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
IF_MATCH = "If-Match"
IF_NONE_MATCH = "If-None-Match"
REQUEST_ID = "X-Request-ID"
LAST_EVENT_ID = "Last-Event-ID"
