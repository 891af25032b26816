"""nginx on this machine, serving the files of a folder; and programs that come as packages."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PACKAGES: Final[Mapping[str, str]] = {
    "nginx": "nginx-light",
    "curl": "curl",
    "aria2c": "aria2",
}
"""Programs and the packages of Debian that hold them."""
_TEMPORARY: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def missing_programs() -> list[str]:
    """Install what is missing, where this process may, and name what is missing still."""
    missing = [name for name in PACKAGES if shutil.which(name) is None]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = [PACKAGES[name] for name in missing]
        command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    return [name for name in missing if shutil.which(name) is None]


@contextmanager
def serving(files: Path, scratch: Path) -> Iterator[str]:
    """Serve a folder's files; yield the address they are under.

    Args:
        files: The folder.
        scratch: Where nginx may write.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    temporary = "".join(f"{name}_temp_path {scratch}/{name};" for name in _TEMPORARY)
    settings = scratch / "nginx.conf"
    settings.write_text(
        f"daemon off; worker_processes 1; pid {scratch}/pid; error_log stderr crit;"
        # As root it would go on as a user to whom the folder is closed.
        f"{'user root;' if os.geteuid() == 0 else ''}"
        "events {} http { access_log off; sendfile on; tcp_nopush on;"
        f"{temporary} server {{ listen 127.0.0.1:{port}; root {files}; }} }}"
    )
    with subprocess.Popen(["nginx", "-e", "stderr", "-p", scratch, "-c", settings]) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int) -> None:
    """Wait until something listens.

    Raises:
        TimeoutError: Nothing did for ten seconds.
    """
    for _ in range(100):
        with socket.socket() as knocking:
            if knocking.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"nginx does not listen on port {port}")
