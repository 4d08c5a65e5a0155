"""``./run demo``: the spec's story on real parts, and a check that nothing was lost or counted twice."""
