"""What is to be done about a task or a request now, and why: ``decide``, its gates, and the plan that they return."""
