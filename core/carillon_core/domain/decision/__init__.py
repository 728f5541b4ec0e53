"""Decides what to do about a task or a request, and why: ``decide``, its gates and the plan that it returns."""
