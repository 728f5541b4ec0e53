"""CronJobs as people write them, and the proof that ``carillon convert`` keeps what they do."""
