"""What the scripts run: `deploy` the stack and attach buckets, `operate` it, `plan` its settings."""
