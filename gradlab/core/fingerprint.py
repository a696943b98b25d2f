"""A fingerprint of the code that makes the numbers: equal for equal code, whatever its comments say."""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGES = ("core", "network", "learning", "tasks", "measure")
DIGITS = 16
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def code_key() -> str:
    """Return the fingerprint of the numerical code, `DIGITS` hexadecimal digits.

    It is a digest of the syntax trees of every module of `PACKAGES`, without docstrings; comments and
    layout are not in them. It does not depend on where the code is installed, nor on the version
    of Python. What a tree comes to is kept where Python keeps compiled code, by the bytes of the sources.
    """
    root = Path(__file__).resolve().parent.parent
    sources = [
        (file.relative_to(root).as_posix(), file.read_bytes())
        for package in PACKAGES
        for file in sorted((root / package).rglob("*.py"))
    ]
    raw = hashlib.sha256()
    for name, source in sources:
        raw.update(f"{name} {len(source)}\n".encode() + source)
    kept = Path(importlib.util.cache_from_source(__file__)).with_name(f"code-{raw.hexdigest()[:32]}")
    with contextlib.suppress(OSError, ValueError):
        text = kept.read_text(encoding="ascii")
        if len(text) == DIGITS and not set(text) - set("0123456789abcdef"):
            return text
    found = fingerprint(sources)
    with contextlib.suppress(OSError):
        _keep(kept, found)
    return found


def case_key(settings_key: str, code: str) -> str:
    """Return the content key of a case: a digest of its settings' key and of the code's fingerprint."""
    return hashlib.sha256(f"{settings_key} {code}".encode()).hexdigest()[:32]


def fingerprint(sources: list[tuple[str, bytes]]) -> str:
    """Return the fingerprint of modules, each given by its name and its source."""
    whole = hashlib.sha256()
    for name, source in sources:
        whole.update(f"{name}\n".encode())
        whole.update("\0".join(_told(ast.parse(source))).encode("utf-8", "surrogatepass"))
    return whole.hexdigest()[:DIGITS]


def _told(node: ast.AST) -> Iterator[str]:
    """Yield what a syntax tree says: kinds of nodes, names and constants, and no places.

    Empty fields are left out, so that fields which later versions of Python add change nothing.
    """
    waiting: list[object] = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.AST):
            yield f"({type(one).__name__}"
            fields = [(name, value) for name, value in ast.iter_fields(one) if value not in (None, [])]
            if isinstance(one, ast.Constant):
                fields = [("value", repr(one.value))]
            elif isinstance(one, _DOCUMENTED) and ast.get_docstring(one, clean=False) is not None:
                fields = [(name, value[1:] if name == "body" else value) for name, value in fields]
            waiting.append(")")
            for name, value in reversed(fields):
                waiting += [value, f".{name}"]
        elif isinstance(one, list):
            yield "["
            waiting += ["]", *reversed(one)]
        else:
            yield str(one)


def _keep(file: Path, text: str) -> None:
    """Write a small file in one move."""
    file.parent.mkdir(exist_ok=True)
    for old in file.parent.glob("code-*"):
        old.unlink(missing_ok=True)
    temporary = file.with_name(f"{file.name}.{os.getpid()}")
    temporary.write_text(text, encoding="ascii")
    temporary.replace(file)
