"""From YAML to a validated run configuration; all mistakes are reported at once."""

import importlib
import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.config.data import DataSettings
from pipeline.config.expected import Expected, PublishedRow
from pipeline.config.run import RunConfig
from pipeline.errors import PseudomaskError

Model = TypeVar("Model", bound=BaseModel)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NO_RECIPE = {"run", "seed", "runtime", "report", "expected"}


def load_run(raw: Mapping[str, Any], configs: Path) -> RunConfig:
    """Validate a run configuration.

    Args:
        raw: the content of a config file, possibly with keys such as ``classifier__training__steps`` from
            ``snakemake --config`` (which refuses dots in names), which win over nested ones.
        configs: folder that ``extends`` entries are relative to.

    Raises:
        PseudomaskError: a table of every mistake: path, value, what is allowed, nearest known key.
    """
    merged = resolve(raw, configs)
    return validated(method_config(merged.get("method")), merged)


def load_data(raw: Mapping[str, Any]) -> DataSettings:
    """Validate the section ``data`` of a file on its own.

    Raises:
        PseudomaskError: a table of every mistake.
    """
    return validated(DataSettings, raw.get("data"))


def validated(model: type[Model], raw: object) -> Model:
    """Settings of one section on their own.

    Raises:
        PseudomaskError: a table of every mistake.
    """
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise PseudomaskError(_error_table(error, model)) from None


def resolve(raw: Mapping[str, Any], configs: Path, within: tuple[str, ...] = ()) -> dict[str, Any]:
    """Follow ``extends`` and expand ``a__b`` to ``{a: {b: }}``; later files win, then the file, then such keys.

    Args:
        raw: content of a file.
        configs: folder that ``extends`` entries are relative to.
        within: files that this one is followed from.

    Raises:
        PseudomaskError: ``extends`` is no list, or names a missing file or one that leads back to itself.
    """
    # Snakemake hands `--config key=null` over as a word.
    given = {key: None if value == "null" else value for key, value in raw.items() if key != "extends"}
    plain = {key: value for key, value in given.items() if "__" not in key}
    paths = {key: value for key, value in given.items() if "__" in key}
    result: dict[str, Any] = {}
    files = raw.get("extends") or []
    if not isinstance(files, list | tuple):
        raise PseudomaskError(f"extends: found {files!r}; it is a list, such as extends: [datasets/voc.yaml]")
    for name in files:
        if name in within:
            raise PseudomaskError(f"extends goes in a circle: {' -> '.join((*within, name))}; remove one")
        result = _merge(result, resolve(read_yaml(configs / name), configs, (*within, name)))
    result = _merge(result, plain)
    for key, value in paths.items():
        *parents, last = key.split("__")
        node: dict[str, Any] = {last: value}
        for parent in reversed(parents):
            node = {parent: node}
        result = _merge(result, node)
    return result


def published_rows(raw: Mapping[str, Any], configs: Path) -> tuple[PublishedRow, ...]:
    """Published numbers that this very configuration stands for: name, seed, machine and data folder aside.

    Args:
        raw: as for :func:`load_run`.
        configs: folder of presets.
    """
    own = resolve(raw, configs)
    if not own.get("expected"):
        return ()
    expected = validated(Expected, own["expected"])
    preset = resolve(read_yaml(configs / expected.preset), configs)
    return tuple(row for row in expected.rows if _recipe(resolve(preset | row.overrides, configs)) == _recipe(own))


def _recipe(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """What a result depends on."""
    recipe = {key: value for key, value in resolved.items() if key not in _NO_RECIPE}
    return recipe | {"data": {key: value for key, value in resolved["data"].items() if key != "root"}}


def method_config(method: object) -> type[RunConfig]:
    """The configuration model of a method.

    Raises:
        PseudomaskError: no such method; the message lists those that exist.
    """
    known = known_methods()
    if method not in known:
        raise PseudomaskError(f"config key 'method': found {method!r}; allowed: {', '.join(known)}")
    module = importlib.import_module(f"pipeline.config.methods.{method}")
    return cast(type[RunConfig], module.Config)


def known_methods() -> list[str]:
    """Names of all methods, sorted."""
    return sorted(path.stem for path in Path(__file__).with_name("methods").glob("[!_]*.py"))


def schema_files() -> dict[str, str]:
    """JSON schemas by file name, one per method; generated, never edited."""
    schemas = {name: method_config(name).model_json_schema() for name in known_methods()}
    return {f"{name}.schema.json": json.dumps(schema, indent=1) + "\n" for name, schema in schemas.items()}


def read_yaml(path: Path) -> dict[str, Any]:
    """Content of a configuration file.

    Raises:
        PseudomaskError: the file is missing or holds no mapping.
    """
    try:
        content = yaml.load(path.read_text(), Loader=_LOADER)
    except FileNotFoundError as error:
        raise PseudomaskError(
            f"the configuration {path} does not exist; check its name and those under 'extends'"
        ) from error
    except yaml.YAMLError as error:
        raise PseudomaskError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise PseudomaskError(f"{path} must hold a mapping of settings, found {type(content).__name__}")
    return content


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = _merge(result[key], value)
        else:
            result[key] = value
    return result


def _error_table(error: ValidationError, model: type[BaseModel]) -> str:
    rows = [("setting", "found", "allowed")]
    for item in error.errors(include_url=False):
        path = ".".join(str(part) for part in item["loc"]) or "(whole file)"
        found = "-" if item["type"] == "missing" else _short(item["input"])
        rows.append((path, found, _allowed(item["type"], item["msg"], item["loc"], model)))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"  {row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]}" for row in rows]
    return f"{len(rows) - 1} mistake(s) in the configuration:\n" + "\n".join(lines)


def _allowed(kind: str, message: str, loc: tuple[int | str, ...], model: type[BaseModel]) -> str:
    if kind == "extra_forbidden":
        known = _keys_at(model, loc[:-1])
        near = get_close_matches(str(loc[-1]), known, 1)
        return f"unknown key; did you mean '{near[0]}'?" if near else f"unknown key; known: {', '.join(known)}"
    return message.removeprefix("Value error, ")


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Names of the settings below ``loc``."""
    current: list[type[BaseModel]] = [model]
    for part in loc:
        fields = [m.model_fields[str(part)] for m in current if str(part) in m.model_fields]
        # A location may also name the member of a union, which is no field: stay where we are.
        current = [found for field in fields for found in _models_in(field.annotation)] or current
    return sorted({name for m in current for name in m.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in get_args(annotation) for model in _models_in(argument)]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
