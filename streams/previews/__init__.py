"""Background work of the agent ``preview``: rendering, cards without a browser, removal, the daily sweep."""
