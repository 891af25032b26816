"""Did you mean: names close to a mistyped one, and what other tools call our parameters."""

import difflib
from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

ALIASES: Final = MappingProxyType(
    {
        "aspect": "aspect_ratio",
        "caption": "prompt",
        "cfg": "guidance_scale",
        "cfg_scale": "guidance_scale",
        "concurrent": "concurrency",
        "flow_shift": "shift",
        "guidance": "guidance_scale",
        "models": "model",
        "n": "repeat",
        "name": "kind",
        "neg_prompt": "negative_prompt",
        "negative": "negative_prompt",
        "num_inference_steps": "inference_steps",
        "parallel": "concurrency",
        "prompt": "prompts",
        "ratio": "aspect_ratio",
        "sample_shift": "shift",
        "scheduler": "sampler",
        "seeds": "seed",
        "steps": "inference_steps",
        "text": "prompt",
        "type": "kind",
        "grid": "matrix",
        "params": "defaults",
        "parameters": "defaults",
        "workers": "concurrency",
    }
)
"""Name somebody may write -> the name we use."""


CURLY_QUOTES: Final = ("\u201c", "\u201d", "\u2018", "\u2019")
"""Quotes as word processors set them."""
STRAIGHT_QUOTES: Final = "YAML knows straight quotes only: \" or '"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `did you mean "x"?`, or the known names, or nothing where there are none."""
    names = sorted(set(known))
    alias = ALIASES.get(name.lower())
    close = [alias] if alias in names else difflib.get_close_matches(name.lower(), names, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known here: {', '.join(names)}" if names else ""


def meant_as(wanted: str, names: Iterable[str]) -> str | None:
    """Return the first of the names that somebody probably wrote for `wanted`."""
    return next((name for name in names if did_you_mean(name, [wanted]).startswith("did")), None)
