"""``carillon convert``: turns objects of other schedulers into tasks, and proves that they run at the same times."""
