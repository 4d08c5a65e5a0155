"""renderer_worker."""
