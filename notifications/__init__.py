"""The owner's daily digest: when it is due, what it says, and how it reads."""
