"""Checks a dashboard with Grafana's own types.

The types drop unknown fields, so the dashboard must be the same after a round trip. They keep
values of a wrong type, so the type of each value is checked separately.
"""

import enum
import json
import sys
import typing

try:
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models import dashboard
except ImportError as missing:
    install = "python3 -m pip install -r tests/prometheus/requirements.txt"
    raise SystemExit(f"{missing}; install it: {install}") from missing


class Encoder(json.JSONEncoder):
    def default(self, value):
        return value.to_json()


def lost(before, after, path: str) -> typing.Iterator[str]:
    """Yields what is in `before` and differs in `after`, which may also contain defaults."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{path}.{key}")
            elif value is not None:
                yield f"{path}.{key}: unknown field"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after)):
            yield from lost(one, other, f"{path}[{index}]")
    elif before != after:
        yield f"{path}: {before!r} becomes {after!r}"


def mistyped(value, hint, path: str) -> typing.Iterator[str]:
    """Yields the parts of `value`, made by Grafana's types, that are not of their declared type."""
    if isinstance(value, dict) and hasattr(hint, "from_json"):
        value = hint.from_json(value)  # some types do not convert nested values
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (typing.Any, object):
        if hasattr(value, "to_json"):
            yield from mistyped(value, type(value), path)
    elif origin is typing.Union:
        problems = [list(mistyped(value, option, path)) for option in arguments]
        if all(problems):
            # Those of the most similar option.
            yield from max(problems, key=lambda found: len(found[0].split(":")[0]))
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{path}: {value!r} is not one of {arguments}"
    elif origin in (list, dict):
        if not isinstance(value, origin):
            yield f"{path}: {value!r} is not a {origin.__name__}"
        else:
            items = enumerate(value) if origin is list else value.items()
            for key, item in items:
                yield from mistyped(item, arguments[-1], f"{path}[{key}]")
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        if value not in list(hint):
            yield f"{path}: {value!r} is not one of {[member.value for member in hint]}"
    elif hint is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield f"{path}: {value!r} is not a number"
    elif not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        yield f"{path}: {value!r} is not of type {hint.__name__}"
    elif hasattr(value, "to_json"):
        module = vars(sys.modules[type(value).__module__])
        for name, field in typing.get_type_hints(type(value), module).items():
            yield from mistyped(getattr(value, name), field, f"{path}.{name}")


def problems(source: dict) -> list[str]:
    register_default_plugins()
    known = dashboard.Dashboard.from_json(source)
    again = json.loads(json.dumps(known, cls=Encoder))
    return [*lost(source, again, "dashboard"), *mistyped(known, dashboard.Dashboard, "dashboard")]
