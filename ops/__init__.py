"""The operator's command and the local stack."""
