"""Removes a person from every store (docs/erasure.md): one module a store, behind one interface."""
