"""The Faust side: one file per agent, and the modules that make delivery safe."""
