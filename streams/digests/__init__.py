"""Background work of the agent ``digest``: closing days, sending digests."""
