"""What people look at: the dashboard."""
