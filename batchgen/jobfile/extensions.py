"""Keys of a job file that begin with `x-`: a place for anchors and notes, which is not read.

What Compose files and OpenAPI documents know by the same name.
"""

from collections.abc import Iterator
from typing import Final

from batchgen.errors import Problem
from batchgen.jobfile.explain import secret_problem
from batchgen.jobfile.secret_names import surely_names_a_secret
from batchgen.jobfile.source import Source
from batchgen.jobfile.yaml12 import Node

PREFIX: Final = "x-"


def set_aside(source: Source, root: Node) -> list[Problem]:
    """Take such keys out of a document; return the secrets under them, which stay refused."""
    aside = {name: node for name, node in root.value.items() if name.startswith(PREFIX)}
    for name in aside:
        del root.value[name]
    top = Node(aside, root.place, keys=root.keys)
    return list(_secrets(source, top))


def _secrets(source: Source, node: Node) -> Iterator[Problem]:
    match node.value:
        case dict() as mapping:
            for name, value in mapping.items():
                if surely_names_a_secret(name):
                    yield secret_problem(source, node.keys[name])
                else:
                    yield from _secrets(source, value)
        case list() as items:
            for item in items:
                yield from _secrets(source, item)
