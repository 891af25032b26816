"""What the API says of a generation: rows, headers, units. Pure."""

from datetime import UTC, datetime

from batchgen.sandbox.generations import (
    CREDITS_PER_USD,
    FAIL_WORD,
    Generation,
    JsonObject,
    Post,
    Status,
)


def failure(generation: Generation) -> JsonObject:
    """Say why nothing came of a generation."""
    if generation.order.fails:
        said = f"The prompt holds {FAIL_WORD!r}, so the sandbox failed it."
        return {"name": "generation_failed", "message": said}
    return {"name": generation.fate, "message": "The fault plan made it fail."}


def headers_of(generation: Generation, charged: int) -> dict[str, str]:
    """Return the headers that an answer about a generation carries; `charged` is in credits."""
    name = generation.generation_id
    return {
        # What no header can hold is in the body only.
        **({"x-inference-id": name} if name.isprintable() else {}),
        "x-aimlapi-credits-used": str(charged),
        "x-aimlapi-usd-spent": str(usd(charged)),
    }


def log_row(generation: Generation, now: float) -> JsonObject:
    """Write a generation as a row of the request log, at `now` in Unix seconds."""
    charged = generation.charged(now)
    return {
        "created": iso(generation.created),
        "status": "failed" if generation.status(now) is Status.ERROR else "succeeded",
        "model": generation.order.model,
        "cost": {"usd": usd(charged), "credits": charged},
        "request_id": generation.request_id,
        "inference_id": generation.generation_id,
        "client_request_id": generation.order.client_request_id,
    }


def ledger_row(generation: Generation, now: float) -> JsonObject:
    """Write a generation as a row of the server's own account, at `now` in Unix seconds."""
    return {
        "generation_id": generation.generation_id,
        "client_request_id": generation.order.client_request_id,
        "model": generation.order.model,
        "body": generation.order.body,
        "created": generation.created,
        "status": generation.status(now),
    }


def post_row(post: Post) -> JsonObject:
    """Write a submit as a row of the server's own account."""
    return {
        "at": post.at,
        "client_request_id": post.client_request_id,
        "answered": post.answered,
        "generation_id": post.generation_id,
    }


def usd(credits_: int) -> float:
    """Turn credits into US dollars."""
    return credits_ / CREDITS_PER_USD


def iso(moment: float) -> str:
    """Write Unix seconds as the API does."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")
