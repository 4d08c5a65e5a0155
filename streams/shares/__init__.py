"""Background work on shares: announcing expiries, ending the links of deleted lists."""
