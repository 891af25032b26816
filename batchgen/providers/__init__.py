"""Who makes the videos: one file a wire format, all behind the same small seam."""

from batchgen.providers.base import Provider
from batchgen.providers.opening import open_provider

__all__ = ["Provider", "open_provider"]
