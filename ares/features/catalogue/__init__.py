"""The catalogue of built-in features, one module a group."""
