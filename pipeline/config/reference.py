"""Every setting as Markdown, from the models themselves: one table per method, then one per group of settings."""

from typing import Any

from pipeline.config.load import known_methods, method_config


def reference() -> str:
    """The whole reference, as one page."""
    groups: dict[str, dict[str, Any]] = {}
    lines = [
        "# Settings",
        "",
        "Generated from the models. A key inside a group is written below it in YAML, and on the",
    ]
    lines += ["command line with two underscores: `--config classifier__training__steps=500`.", ""]
    for method in known_methods():
        schema = method_config(method).model_json_schema()
        for name, group in schema.get("$defs", {}).items():
            if groups.setdefault(name, group) != group:
                raise ValueError(f"two groups of settings are called {name}; rename one")
        lines += [f"## Method `{method}`", "", *_table(schema, groups), ""]
    lines += ["## Groups", ""]
    for name in sorted(groups):
        if "properties" in groups[name]:
            lines += [f"### {name}", "", " ".join(groups[name].get("description", "").split()), ""]
            lines += [*_table(groups[name], groups), ""]
    return "\n".join(lines)


def _table(schema: dict[str, Any], groups: dict[str, Any]) -> list[str]:
    needed = schema.get("required", [])
    rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
    for key, field in schema.get("properties", {}).items():
        default = "needed" if key in needed else _value(field.get("default"))
        rows.append(f"| `{key}` | {_type(field)} | {default} | {_cell(_meaning(field, groups))} |")
    return rows


def _meaning(field: dict[str, Any], groups: dict[str, Any]) -> str:
    """The setting's own description, else that of the group it holds."""
    held = [one["$ref"].rsplit("/", 1)[-1] for one in (field, *field.get("anyOf", [])) if "$ref" in one]
    return str(field.get("description") or (groups[held[0]].get("description", "") if held else ""))


def _type(field: dict[str, Any]) -> str:
    """What may stand there, in words."""
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        inside = field.get("prefixItems") or [field.get("items", {})]
        return f"list of {', '.join(_type(one) for one in inside)}"
    if field.get("type") == "object":
        inside = field.get("additionalProperties")
        return f"names with {_type(inside)}" if isinstance(inside, dict) else "mapping"
    limits = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {field[name]:g}" for name, sign in limits.items() if name in field]
    return " ".join([str(field.get("type", "anything")).replace("string", "text"), *bounds])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "see there" if value else "none"
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    if isinstance(value, list):
        return f"`[{', '.join(_value(one).strip('`') for one in value)}]`"
    return f"`{value}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
