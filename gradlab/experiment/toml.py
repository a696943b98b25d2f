"""Reading and writing TOML: the standard library reads it, and a spec needs little to be written."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake

Table = dict[str, Any]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_KEY_PART = re.compile(r"""\s*(?:([A-Za-z0-9_-]+)|"([^"\\]*)"|'([^']*)')\s*""")


def read_toml(path: str | Path) -> Table:
    """Return the table that a TOML file holds.

    Raises
    ------
    UserMistake
        Where the file cannot be read, is not UTF-8, or is not TOML; the place in it is named.
    """
    where = str(path)
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        return tomllib.loads(text)
    except UnicodeDecodeError as error:
        problem = Problem(
            where, "a TOML file in UTF-8", f"a byte that is not UTF-8 at position {error.start}"
        )
    except tomllib.TOMLDecodeError as error:
        problem = Problem(where, "a TOML file", f"a syntax error: {error}")
    except RecursionError:
        problem = Problem(where, "a TOML file", "tables nested too deeply to be read")
    except (
        OSError,
        ValueError,
    ) as error:  # ValueError: a null character in the path, or a number of 5000 digits
        reason = getattr(error, "strerror", None) or str(error)
        problem = Problem(where, "a TOML file that can be read", f"the error {reason!r}")
    raise UserMistake(problem)


def to_toml(table: Mapping[str, Any]) -> str:
    """Return the TOML text of a plain table (texts, numbers, booleans, lists, tables).

    A table at the top becomes ``[key]``, a list of tables ``[[key]]``, everything deeper is written
    inline. A value of None is left out, for TOML has none.

    Raises
    ------
    UserMistake
        Where a value has no TOML form.
    """
    plain = {key: value for key, value in table.items() if value is not None}
    lines = [f"{_key(k)} = {_value(v, k)}" for k, v in plain.items() if not _is_section(v)]
    for key, value in plain.items():
        if _is_section(value):
            header = f"[{_key(key)}]" if isinstance(value, Mapping) else f"[[{_key(key)}]]"
            for section in [value] if isinstance(value, Mapping) else value:
                body = [f"{_key(k)} = {_value(v, f'{key}.{k}')}" for k, v in section.items() if v is not None]
                lines += ["", header, *body]
    return "\n".join(lines).lstrip("\n") + "\n"


def parse_key(text: str) -> list[str]:
    """Return the parts of a dotted TOML key; quoted parts may hold dots.

    Raises
    ------
    UserMistake
        Where `text` is not such a key.
    """
    parts, place = [], 0
    while (match := _KEY_PART.match(text, place)) is not None:
        parts.append(next(group for group in match.groups() if group is not None))
        place = match.end()
        if place == len(text):
            return parts
        if text[place] != ".":
            break
        place += 1
    raise UserMistake(Problem(shown(text), "a dotted key such as network.hidden", shown(text)))


def parse_value(text: str, where: str) -> Any:
    """Return the value of a TOML expression; what is none and has no bracket or quote is a text.

    Raises
    ------
    UserMistake
        Where a list, a table or a quoted text is begun and not well finished.
    """
    text = text.strip()
    try:
        table = tomllib.loads(f"value = {text}\n")
    except tomllib.TOMLDecodeError as error:
        if not text.startswith(("[", "{", '"', "'")):
            return text
        got, hint = shown(text), f"{str(error)[:1].upper()}{str(error)[1:]}."
    except (RecursionError, ValueError) as error:
        got, hint = shown(text), str(error) if isinstance(error, ValueError) else "It is nested too deeply."
    else:
        if set(table) == {"value"}:
            return table["value"]
        got, hint = shown(text), "Give one value."
    raise UserMistake(Problem(where, "a TOML value or a bare word", got, hint))


def _is_section(value: Any) -> bool:
    if isinstance(value, Mapping):
        return True
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key, "key")


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise UserMistake(Problem(where, "a text in Unicode", shown(value))) from None
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item, where) for item in value)}]"
    if isinstance(value, Mapping):
        items = [f"{_key(k)} = {_value(v, f'{where}.{k}')}" for k, v in value.items() if v is not None]
        return f"{{ {', '.join(items)} }}" if items else "{}"
    raise UserMistake(Problem(where, "a text, a number, a boolean, a list or a table", shown(value)))
