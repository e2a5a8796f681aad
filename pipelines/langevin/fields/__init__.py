"""Radiance fields: cameras, the field itself, rendering, fits to pictures, the prior on fields, meshes."""
