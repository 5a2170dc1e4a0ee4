"""What the scripts run: `deploy` the stack and attach buckets, `operate` and `check` it, `plan` its settings."""
