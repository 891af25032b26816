"""Who makes the videos: one file a wire format, all behind the same small seam.

Imports nothing: a command that only asks for a price needs no HTTP client.
"""
