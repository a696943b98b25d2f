"""What a packed archive says of itself: RO-Crate 1.1 metadata for machines, a README for people.

Both are made from the archive's files alone. Names and texts in them are escaped where they are shown.
"""

from __future__ import annotations

import datetime
import hashlib
import html
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from gradlab.archive import directory
from gradlab.archive.files import Files
from gradlab.archive.manifest import read_manifest
from gradlab.archive.of_file import is_of_file
from gradlab.archive.reading import provenance_in, settings_in
from gradlab.core.checks import shown
from gradlab.core.errors import Problem, UserMistake
from gradlab.experiment.tables import file_name, paths_in

LICENCE = "CC-BY-4.0"
METADATA = "ro-crate-metadata.json"
README = "README.md"
_CONTEXT = ["https://w3id.org/ro/crate/1.1/context", {"sha256": "https://schema.org/sha256"}]
_SPDX = re.compile(r"[A-Za-z0-9.+-]{1,60}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_AUTHOR = re.compile(r"\s*([^<>]+?)\s*(?:<(https://orcid\.org/[0-9X-]{19})>)?\s*")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~-])")
_FORMATS = {
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".toml": "application/toml",
    ".png": "image/png",
    ".pdf": "application/pdf",
    ".svg": "image/svg+xml",
    ".md": "text/markdown",
}
_WHAT = {
    directory.MARKER: "marker of the archive: format and version of its schema",
    directory.SPEC: "the spec as it was given",
    directory.RESOLVED: "the spec with every default written out",
    directory.PROVENANCE: "versions, machine and command of every run",
    directory.FAILURES: "errors of the cases that failed",
    directory.MANIFEST: "size and SHA-256 of every file, and a digest of data and settings",
    README: "how to open, check, rerun and cite this archive",
}


def texts(files: Files, *, authors: Sequence[str], licence: str, date: str | None) -> dict[str, str]:
    """Return the two files by name; see `gradlab.archive.packed.pack` for the parameters.

    Raises
    ------
    UserMistake
        If an author, the licence or the date is not written as expected.
    """
    people = [_author(i, author) for i, author in enumerate(authors, start=1)]
    if not _SPDX.fullmatch(licence):
        raise UserMistake(Problem("licence", "an SPDX identifier such as CC-BY-4.0", shown(licence)))
    runs = provenance_in(files)
    day = _day(date, runs)
    settings = settings_in(files)
    digest = str(read_manifest(files)["content_digest"])
    readme = _readme(files, settings, runs, people, licence, day, digest)
    graph = list(_graph(files, settings, runs, people, licence, day, digest, readme))
    crate = json.dumps({"@context": _CONTEXT, "@graph": graph}, indent=1) + "\n"
    # Where a page shows the text as it is, no tag must begin in it; JSON reads the same.
    return {METADATA: crate.replace("<", "\\u003c").replace("&", "\\u0026"), README: readme}


def check_texts(files: Files) -> Iterator[Problem]:
    """Yield what the description in a packed file says of other files than are there.

    It may have been written by another version of gradlab: its words are not looked at.
    """
    where = files.where(METADATA)
    try:
        graph = json.loads(files.text(METADATA))["@graph"]
        entities = {unquote(str(one["@id"])): one for one in graph}
        listed = read_manifest(files)["files"]
        root = entities["./"]
        parts = {unquote(str(part["@id"])) for part in root["hasPart"]}
    except UserMistake as mistake:
        yield from mistake.problems
        return
    except (ValueError, KeyError, TypeError, RecursionError):
        yield Problem(where, "RO-Crate metadata as gradlab pack writes them", "other text")
        return
    digest = read_manifest(files)["content_digest"]
    if root.get("identifier") != digest:
        yield Problem(where, f"the digest of the content, {digest}", shown(root.get("identifier")))
    told = {name for name in listed if not name.startswith(f"{directory.DATA}/")}
    for name in sorted({*told, README, directory.MANIFEST}):
        entity = entities.get(name, {})
        expected = {"contentSize": str(files.sizes.get(name))}
        if name in listed:
            expected["sha256"] = listed[name]["sha256"]
        elif name == README and name in files:
            expected["sha256"] = hashlib.sha256(files.read(name)).hexdigest()
        if name not in parts or any(entity.get(key) != value for key, value in expected.items()):
            yield Problem(where, f"{shown(name)} with its size and SHA-256", shown(entity))


def _author(number: int, text: str) -> dict[str, Any]:
    match = _AUTHOR.fullmatch(text)
    if match is None or not match[1].isprintable():
        raise UserMistake(Problem("author", "a name, or NAME <https://orcid.org/0000-...>", shown(text)))
    return {"@id": match[2] or f"#author-{number}", "@type": "Person", "name": match[1]}


def _day(date: str | None, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the date of publication: the one given, or that on which the last run ended."""
    if date is None:
        ends = [str(run.get("finished", ""))[:10] for run in runs]
        date = next((end for end in reversed(ends) if _DAY.fullmatch(end)), None)
        if date is None:
            raise UserMistake(Problem("date", "a date, as --date YYYY-MM-DD", "none in the provenance"))
    try:
        return datetime.date.fromisoformat(date if _DAY.fullmatch(date) else "").isoformat()
    except ValueError:
        raise UserMistake(Problem("date", "a date, YYYY-MM-DD", shown(date))) from None


def _title(settings: Mapping[str, Any]) -> str:
    title = settings.get("title")
    return title if isinstance(title, str) and title else "An archive of gradlab"


def _graph(
    files: Files,
    settings: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    people: list[dict[str, Any]],
    licence: str,
    day: str,
    digest: str,
    readme: str,
) -> Iterator[dict[str, Any]]:
    """Yield the entities: descriptor, root, files, people, licence, software, runs."""
    parts = [*_files(files), _file(README, len(readme.encode()), hashlib.sha256(readme.encode()).hexdigest())]
    actions = [_run(i, run) for i, run in enumerate(runs, start=1)]
    question = str(settings.get("question") or "")
    yield {
        "@id": METADATA,
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": {"@id": "./"},
    }
    yield {
        "@id": "./",
        "@type": "Dataset",
        "name": _title(settings),
        "description": f"{question} Measured by gradlab: how gradients flow back through time.".strip(),
        "datePublished": day,
        "license": {"@id": f"https://spdx.org/licenses/{licence}"},
        "identifier": digest,
        **({"author": [{"@id": one["@id"]} for one in people]} if people else {}),
        "hasPart": [{"@id": part["@id"]} for part in parts],
        **({"mentions": [{"@id": action["@id"]} for action in actions]} if actions else {}),
    }
    yield from parts
    yield from people
    yield {
        "@id": f"https://spdx.org/licenses/{licence}",
        "@type": "CreativeWork",
        "name": licence,
        "description": f"The licence with the SPDX identifier {licence}.",
    }
    versions = sorted({str(run.get("gradlab")) for run in runs if run.get("gradlab")})
    software: dict[str, Any] = {"@id": "#gradlab", "@type": "SoftwareApplication", "name": "gradlab"}
    yield software | ({"version": versions[-1]} if versions else {})
    yield from actions


def _files(files: Files) -> Iterator[dict[str, Any]]:
    """Yield the files of the archive; those of the data stand together, each of them in the manifest."""
    listed = read_manifest(files)["files"]
    chunks = [name for name in listed if name.startswith(f"{directory.DATA}/")]
    yield {
        "@id": f"{directory.DATA}/",
        "@type": "Dataset",
        "name": "the numbers",
        "description": f"A Zarr v3 group of {len(chunks)} files, read by xarray.open_zarr. Size and SHA-256 "
        f"of each of them: {directory.MANIFEST}.",
        "encodingFormat": "application/vnd.zarr",
    }
    for name, entry in listed.items():
        if name not in chunks:
            yield _file(name, entry["size"], entry["sha256"])
    yield _file(directory.MANIFEST, files.sizes[directory.MANIFEST], None)


def _file(name: str, size: int, sha256: str | None) -> dict[str, Any]:
    entity: dict[str, Any] = {"@id": quote(name), "@type": "File", "name": name, "contentSize": str(size)}
    suffix = f".{name.rpartition('.')[2]}"
    if suffix in _FORMATS:
        entity["encodingFormat"] = _FORMATS[suffix]
    if name in _WHAT:
        entity["description"] = _WHAT[name]
    return entity | ({"sha256": sha256} if sha256 is not None else {})


def _run(number: int, run: Mapping[str, Any]) -> dict[str, Any]:
    command = run.get("command")
    action: dict[str, Any] = {
        "@id": f"#run-{number}",
        "@type": "CreateAction",
        "name": shlex.join(map(str, command)) if isinstance(command, list) else f"run {number}",
        "instrument": {"@id": "#gradlab"},
        "object": {"@id": directory.RESOLVED},
        "result": {"@id": f"{directory.DATA}/"},
    }
    if isinstance(run.get("finished"), str):
        action["endTime"] = run["finished"]
    libraries = run.get("libraries")
    if isinstance(libraries, dict):
        made = [run.get("python"), *(f"{k} {v}" for k, v in libraries.items()), run.get("cpu")]
        action["description"] = ", ".join(str(one) for one in made if one)
    return action


def plain(text: object) -> str:
    """Return a text for Markdown that shows as it is: no tags, no formatting, one line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return _MARKDOWN.sub(r"\\\1", html.escape(line))


_HOW = """\
## Open

    gradlab show FILE.zip

or in Python, lazily and with names, dimensions and units on everything

    import gradlab
    ds = gradlab.open_archive("FILE.zip")

Without gradlab: unzip it, then `xarray.open_zarr("data.zarr")`, or any reader of Zarr version 3. For programs
without Zarr: `gradlab export FILE.zip --to netcdf` or `--to csv`.

## Check

    gradlab verify FILE.zip
"""


def _check_again(settings: Mapping[str, Any]) -> str:
    """Return how the cases of an archive are measured again, as far as that can be done from it."""
    if is_of_file(settings):
        return "\nThe network was read from a file: what it gives again, `gradlab probe` tells (below).\n"
    named = sorted({file_name(path) for _, path in paths_in(settings) if path})
    if not named:
        return "    gradlab verify FILE.zip --replay all\n"
    files = ", ".join(map(plain, named))
    return (
        "    gradlab verify FILE.zip --replay all --outside FOLDER\n\n"
        f"FOLDER is where you have what the settings name and this file does not hold: {files}. "
        "Without it keys are not computed.\n"
    )


def _run_again(files: Files, settings: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the commands that measure the cases of an archive anew."""
    if is_of_file(settings):
        command = runs[-1].get("command") if runs else None
        words = (
            " ".join(map(_word, command)) if isinstance(command, list) else "gradlab probe WEIGHTS --inputs X"
        )
        return f"With the files of the network and its inputs, as it was done:\n\n    {words}\n"
    paths = [(key, file_name(path)) for key, path in paths_in(settings) if path]
    own = [f"{key}={name}" for key, name in paths if not key.startswith("sweep.")]
    given = "".join(f" --set {_word(one)}" for one in own)
    former = [_word(name) for name in files.sizes if name.startswith(f"{directory.FORMER}/")]
    specs = [*former, directory.RESOLVED]
    lines = [f"    unzip FILE.zip {' '.join(specs)}"]
    lines += [f"    gradlab run {name}{given} --out again" for name in specs]
    lines += ["    gradlab diff FILE.zip again"]
    if given:
        lines += ["", "The files that --set names must lie where this is run."]
    if former:
        lines += [
            "",
            "Each spec has given a part of the cases; the last one alone leaves the others out.",
        ]
    return "\n".join(lines) + "\n"


def _word(text: object) -> str:
    """Return a word of a command as it stands in Markdown: quoted, on one line, without tags."""
    return shlex.quote("".join(c if c.isprintable() and c != "<" else "?" for c in str(text)))


def _readme(
    files: Files,
    settings: Mapping[str, Any],
    runs: Sequence[Mapping[str, Any]],
    people: list[dict[str, Any]],
    licence: str,
    day: str,
    digest: str,
) -> str:
    title = plain(_title(settings))
    authors = ", ".join(plain(one["name"]) for one in people) or "(no author is named)"
    figures = [one for one in files.sizes if one.startswith(f"{directory.FIGURES}/")]
    shown_figures = f"\nFigures: {', '.join(map(plain, figures))}.\n" if figures else ""
    return f"""\
# {title}

{plain(settings.get("question") or "An archive of gradlab.")}

A packed archive of gradlab: settings, numbers, figures, and where they came from, in one file that is
opened as it is. FILE.zip stands for its name.
{shown_figures}
{_HOW}{_check_again(settings)}
That accounts for every byte and computes the keys of all cases again from the settings; `--replay` also
measures them again on your machine. The digest of data and settings is

    {digest}

## Run again

{_run_again(files, settings, runs)}
## Cite

{authors}: {title}. {day}. Licence {plain(licence)}. {digest}
"""
