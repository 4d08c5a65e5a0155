"""The HTTP edge: routes, sign-in, rate limits and reads. It decides, appends an event and answers."""
