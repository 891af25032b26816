"""The columns of the manifest that say what happened; all between them are the task's own."""

from typing import Final

HEAD: Final = ("task_id", "index", "status", "file_name", "prompt", "prompt_id", "prompt_template")
TAIL: Final = (
    "repeat",
    "model",
    "provider",
    "generation_id",
    "duplicate_generation_id",
    "client_request_id",
    "video_url",
    "submitted_at",
    "completed_at",
    "downloaded_at",
    "queue_s",
    "generate_s",
    "download_s",
    "polls",
    "attempts",
    "error_code",
    "error_message",
    "replaced_by",
    "more_files",
    "bytes",
    "sha256",
    "width",
    "height",
    "fps",
    "duration_s",
    "cost_usd",
    "cost_is_estimate",
    "job_sha256",
    "batchgen_version",
    "server",
    "run_id",
)
