"""Messages with which the API server refuses a pod."""

NO_ACCOUNT = 'error looking up service account default/absent: serviceaccount "absent" not found'
NO_ROOM = "exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0"
FULL = "exceeded quota: none, requested: pods=1, used: pods=3, limited: pods=3"
