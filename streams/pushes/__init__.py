"""Background work of the agent ``push``: one delivery for each device, and sending them."""
