"""What stands between every command and every robot: a gate that plans, checks, and only then moves."""
