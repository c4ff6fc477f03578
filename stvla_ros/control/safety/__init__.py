"""The safety gate between every command and every robot: it plans, checks, and only then moves."""
