"""What several test modules build."""
