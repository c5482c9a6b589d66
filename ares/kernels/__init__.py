"""Compiled arithmetic: numba over arrays and scalars, no pandas, no objects.

Each rule is written once and called from both rhythms, batch and streaming. `ares.kernels.jit` compiles and caches.
"""
