"""The job file's JSON Schema, for editors: made of the models that load it, so that the two agree.

Draft 7, which every version of yaml-language-server reads. The parameters of the known models are
offered, and no other name is refused: it may be a variable, or a parameter of another model.
"""

from collections.abc import Sequence
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from batchgen.jobfile.extensions import PREFIX
from batchgen.jobfile.schema import JobDocument
from batchgen.models import PROMPT, TABLES, Parameter

Schema = dict[str, Any]


class _ForEditors(GenerateJsonSchema):
    """Leaves out what would only be noise beside a key: titles, and defaults nobody would write."""

    schema_dialect = "http://json-schema.org/draft-07/schema#"

    def field_title_should_be_set(self, _: object) -> bool:
        """Give no key a title: it has its name."""
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Keep a default that is text or a whole number: it is what a person would write."""
        if isinstance(schema.get("default"), str | int):
            return super().default_schema(schema)
        return self.generate_inner(schema["schema"])


def job_schema() -> Schema:
    """Return the JSON Schema of a job file."""
    schema = JobDocument.model_json_schema(
        schema_generator=_ForEditors, ref_template="#/definitions/{model}"
    )
    keys = schema["properties"]
    definitions: dict[str, Schema] = schema.pop("$defs")
    for part in definitions.values():
        part.pop("title", None)
    include, entry = keys["include"]["items"], definitions["PromptEntry"]
    _offer(definitions, "value", [keys["defaults"], keys["exclude"]["items"], include, entry])
    _offer(definitions, "axis", [keys["matrix"], keys["zip"]])
    _offer(definitions, "parameter", [keys["model_parameters"]])
    include["properties"]["prompt"] = {
        "description": "The row's own prompt; a row without one joins every prompt.",
        "type": "string",
    }
    keys["exclude"]["items"]["properties"]["id"] = {
        "description": "The id of the prompt whose cells are left out.",
        "anyOf": [{"$ref": "#/definitions/value"}],
    }
    include["properties"]["id"] = {
        "description": "A name for the row's own prompt in the manifest.",
        "anyOf": [{"$ref": "#/definitions/value"}],
    }
    model = definitions["ProviderPart"]["properties"]["model"]
    model["anyOf"] = [{"enum": list(TABLES)}, {"type": model.pop("type")}]
    return {
        "$schema": _ForEditors.schema_dialect,
        **schema,
        "title": "batchgen job",
        "patternProperties": {f"^{PREFIX}": {"description": "For anchors and notes: not read."}},
        "definitions": definitions,
    }


def _offer(definitions: dict[str, Schema], shape: str, mappings: Sequence[Schema]) -> None:
    """Name the parameters of all known models in mappings whose values have one shape."""
    definitions[shape] = mappings[0]["additionalProperties"]
    anything = {"$ref": f"#/definitions/{shape}"}
    offered = {
        name: {
            "description": _description(name),
            "anyOf": [*_choices(parameter, shape), anything],
        }
        for name, parameter in _known().items()
    }
    for mapping in mappings:
        mapping["additionalProperties"] = anything
        mapping["properties"] = {**offered, **mapping.get("properties", {})}


def _known() -> dict[str, Parameter]:
    """Map each known parameter's name to one such; the prompt has its own key."""
    known: dict[str, Parameter] = {}
    for table in TABLES.values():
        for name, parameter in table.items():
            known.setdefault(name, parameter)
    del known[PROMPT.name]
    return known


def _choices(parameter: Parameter, shape: str) -> list[Schema]:
    """Return what an editor can complete: one of the values, or a list of them for an axis."""
    every = [table[parameter.name] for table in TABLES.values() if parameter.name in table]
    values = list(dict.fromkeys(choice for one in every for choice in one.choices))
    if parameter.type == "boolean":
        values = [True, False]
    if not values or shape == "parameter":
        return []
    one = {"enum": values}
    return [{"type": "array", "items": one}] if shape == "axis" else [one]


def _description(name: str) -> str:
    """Say what each known model takes under a name, models of the same mind together."""
    models: dict[str, list[str]] = {}
    for model, table in TABLES.items():
        if name in table:
            models.setdefault(table[name].in_words(), []).append(model)
    return "\n\n".join(f"{words} ({', '.join(named)})" for words, named in models.items())
