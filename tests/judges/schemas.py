"""Judges documents by the schemas: reads lines of {"what", "schema", "document"}, says what is wrong with which.

Published schemas let newer versions add fields; here, a field that no schema names is a mistake."""

import json
import sys
from pathlib import Path

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

folder, recorded = Path(sys.argv[1]), Path(sys.argv[2])


def closed(schema):
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: closed(value) for name, value in schema.items()}
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        schema.setdefault("additionalProperties", False)
    return schema


schemas = {}
for path in sorted(folder.glob("*.json")):
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    schemas[path.name] = closed(schema)
registry = Registry().with_resources((name, Resource.from_contents(one)) for name, one in schemas.items())
validators = {
    name.removesuffix(".json"): Draft202012Validator(
        one, registry=registry.with_resource("", Resource.from_contents(one)), format_checker=Draft202012Validator.FORMAT_CHECKER
    )
    for name, one in schemas.items()
}

seen, wrong = set(), 0
for line in recorded.read_text().splitlines():
    record = json.loads(line)
    seen.add(record["schema"])
    for error in validators[record["schema"]].iter_errors(record["document"]):
        wrong += 1
        near = [f"{one.json_path}: {one.message[:300]}" for one in sorted(error.context or [], key=lambda e: -len(e.path))[:6]]
        print(f"{record['what']}: {error.json_path}: {error.message[:300]}", *near, sep="\n    ")
print(f"judged {len(schemas)} schemas; documents of: {' '.join(sorted(seen))}")
sys.exit(1 if wrong else 0)
