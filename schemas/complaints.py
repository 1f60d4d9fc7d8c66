"""Turns pydantic's errors about a run file into sentences for the user who wrote it.

Pydantic's own messages are for programmers ("Input should be a valid tuple"), so each kind of error has a
sentence here that names the setting and what to write.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from schemas.factories import FACTORY
from schemas.notation import SECTIONS
from schemas.records import Quarantined
from schemas.sections import classes_of, is_list, tag_of

_LONGEST = 100  # characters of a value that a message repeats; it has to stay one readable line
_NUMBERS = {"int": "a whole number", "float": "a number", "bool": "true or false"}
_NUMBERED = re.compile(r"\.#(?=\d)")
"""The point before the number of an element without a kind, as in `prompts.#1`. It is shown as `prompts
#1`."""
_RANGES = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}


class Complaint(NamedTuple):
    """One error: the setting, under the name that `--set` uses, and what is wrong with it."""

    place: str
    what: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}" if self.place else self.what


class _Place(NamedTuple):
    """The place of an error in a run file."""

    path: tuple[str, ...]
    owners: tuple[type[BaseModel], ...]
    """The classes that the section of the last name may be of."""
    siblings: tuple[type[BaseModel], ...]
    """All classes of the union that this section is of, the owners included."""
    field: FieldInfo | None
    """The field of the last name, where it is one."""


def complaints(errors: Iterable[Mapping[str, Any]], model: type[BaseModel]) -> list[Complaint]:
    """Pydantic's errors on a configuration, one for each setting, with what would help where we know it."""
    found: dict[str, Complaint] = {}
    # A setting of two types, such as an address or a list of addresses, has one error for each type. Where
    # the user wrote a list, "expected a text" does not help, so that error goes last and is dropped.
    for error in sorted(errors, key=lambda e: e["type"] == "string_type" and isinstance(e["input"], list)):
        place = _place(error, model)
        name = _NUMBERED.sub(" #", ".".join(place.path)).replace(".#", ".")
        # An error of one element (`prompts #2`) says more than one of the whole list.
        if not any(other.startswith(f"{name} #") for other in found):
            found.setdefault(name, Complaint(name, _what(error, place, model)))
    return list(found.values())


def _place(error: Mapping[str, Any], model: type[BaseModel]) -> _Place:
    """Follow an error's `loc` through the classes of the configuration.

    Pydantic also puts tags of unions and names of types (`server`, `str`) into it. These are skipped: they
    are no part of a run file's keys. Example: `policy, server, in_flight` becomes `policy.in_flight`.
    """
    path: list[str] = []
    owners: tuple[type[BaseModel], ...] = (model,)
    siblings, field, inside = owners, None, owners
    loc = error["loc"]
    for at, part in enumerate(loc):
        is_unknown = error["type"] == "extra_forbidden" and at == len(loc) - 1
        if is_unknown:
            path.append(str(part))
            owners, field = inside, None
        elif isinstance(part, int):
            path.append(f"#{part + 1}")
        elif here := [one.model_fields[part] for one in inside if part in one.model_fields]:
            owners, field = inside, here[0]
            inside = siblings = tuple(classes_of(field.annotation))
            siblings = siblings if inside else owners
            path.append(part)
        elif chosen := tuple(one for one in inside if part == tag_of(one)[1]):
            inside = chosen
            if path and path[-1].startswith("#"):  # of a list of sections the kind says more than the number
                path[-1] = f"#{part}"
        elif field is not None and not inside and "dict" in str(field.annotation):
            path.append(part)
    if error["type"].startswith("union_tag"):
        path.append(tag_of(inside[0])[0])
    return _Place(tuple(path), owners, siblings, field)


def _what(error: Mapping[str, Any], place: _Place, model: type[BaseModel]) -> str:
    """The sentence for one error."""
    kind, given, context = error["type"], error.get("input"), error.get("ctx", {})
    name = place.path[-1] if place.path else ""
    match kind:
        case "extra_forbidden":
            return _unknown(place, given, model)
        case "missing":
            is_section = place.field is not None and classes_of(place.field.annotation)
            needed = f"[{_header(place)}]" if is_section else f"{name} = ..."
            return "is missing" if name.startswith("#") else f"is missing: write {needed}"
        case "tuple_type" | "list_type":
            return _list_expected(place, given)
        case "model_type" | "model_attributes_type" | "dict_type":
            return _section_expected(place, given)
        case "union_tag_not_found" | "union_tag_invalid":
            return _unknown_kind(place, given)
        case "literal_error":
            return _choice(given, [part.strip("'") for part in _words(context["expected"])])
        case "string_type":
            return f"expected a text in quotes, not {_shown(given)}"
        case "string_pattern_mismatch":
            return _pattern(context["pattern"], given)
        case "string_too_short":
            return "must not be empty"
        case "too_short" | "too_long" | "string_too_long":
            return _length(kind, context)
        case "finite_number":
            return "expected a finite number"
        case "value_error":
            return str(context["error"])
    if kind in _RANGES:
        limit, words = _RANGES[kind]
        bound = context[limit]
        return f"must be {words} {f'{bound:g}' if isinstance(bound, float) else bound}, not {_shown(given)}"
    if number := _NUMBERS.get(kind.partition("_")[0]):
        return f"expected {number}, not {_shown(given)}"
    return str(error["msg"])


def _length(kind: str, context: Mapping[str, Any]) -> str:
    """How many elements or characters there may be."""
    if kind == "too_short":
        return f"expected at least {context['min_length']} in the list"
    most = context["max_length"]
    return f"expected at most {most} {'characters' if kind.startswith('string') else 'in the list'}"


def _unknown(place: _Place, given: Any, model: type[BaseModel]) -> str:
    """The sentence about an unknown section or setting: which kind has it, or which one was meant."""
    name = place.path[-1]
    if of_kinds := [one for one in place.siblings if name in one.model_fields and one not in place.owners]:
        tag, own = tag_of(place.owners[0])
        kinds = " or ".join(f'{tag} = "{tag_of(one)[1]}"' for one in of_kinds)
        return f'`{name}` belongs to {kinds}; this {_section_name(place)} is "{own}"'
    fields = [field for one in place.owners for field in one.model_fields]
    # A misspelling is likelier than a setting in the wrong section, so it is tried first.
    near = get_close_matches(name, fields, n=1)
    if isinstance(given, (dict, list)) and len(place.path) == 1:
        if meant := get_close_matches(name, SECTIONS, n=1):
            return f'no such section; did you mean [[annotate]] kind = "{meant[0]}"?'
        sections = [f"[{field}]" for field in fields if classes_of(model.model_fields[field].annotation)]
        return "no such section; " + (
            f"did you mean [{near[0]}]?" if near else f"there are {_listed(sections)}"
        )
    if near:
        return f"no such setting; did you mean `{near[0]}`?"
    if elsewhere := [f"[{section}]" for section in _sections_with(name, model)]:
        return f"no such setting here; there is one in {', '.join(elsewhere)}"
    return f"no such setting; there are {_listed(fields)}"


def _header(place: _Place) -> str:
    """The section as a run file heads it: `annotate.policy` for one of any element of `[[annotate]]`."""
    return ".".join(part for part in place.path if not part.startswith("#"))


def _section_name(place: _Place) -> str:
    """`policy` of `annotate.prover.policy.slip`, "file" of `slip`."""
    return place.path[-2].lstrip("#") if len(place.path) > 1 else "file"


def _sections_with(name: str, model: type[BaseModel]) -> list[str]:
    return [
        section
        for section, field in model.model_fields.items()
        if any(name in one.model_fields for one in classes_of(field.annotation))
    ]


def _list_expected(place: _Place, given: Any) -> str:
    if place.field is not None and is_list(place.field):
        name = place.path[-1]
        return f"expected a list of sections: write [[{name}]], not [{name}]"
    if isinstance(given, str):
        return f'expected a list: ["{given[:_LONGEST]}"]'
    return (
        f"expected a list: [{_shown(given)}]" if isinstance(given, (int, float)) else "expected a list: [...]"
    )


def _section_expected(place: _Place, given: Any) -> str:
    name = _header(place)
    if place.field is None or not classes_of(place.field.annotation):
        return f'expected a table such as {{name = "value"}}, not {_shown(given)}'
    if isinstance(given, list):
        return f"expected one section: write [{name}], not [[{name}]]"
    is_entry = place.path[-1].startswith("#")
    header = f"[[{'.'.join(place.path[:-1])}]]" if is_entry else f"[{name}]"
    return f"expected a section {header} with settings in it, not {_shown(given)}"


def _unknown_kind(place: _Place, given: Any) -> str:
    """The sentence about a section whose `kind` (or `source`) is missing or unknown."""
    classes = classes_of(place.field.annotation) if place.field else []
    tag = tag_of(classes[0])[0] if classes else "kind"
    kinds = [tag_of(one)[1] for one in classes]
    value = given.get(tag) if isinstance(given, dict) else None
    if value is None:
        return f"is missing: write {tag} = {_either(kinds)}"
    return _choice(value, kinds)


def _choice(given: Any, known: Sequence[str]) -> str:
    near = get_close_matches(given, known, n=1) if isinstance(given, str) else []
    meant = f'; did you mean "{near[0]}"?' if near else ""
    return f"expected {_either(known)}, not {_shown(given)}{meant}"


def _pattern(pattern: str, given: Any) -> str:
    if pattern == FACTORY:
        return f"expected package.module:function, not {_shown(given)}"
    if pattern.startswith(r"^[A-Za-z0-9]"):  # the name of a run or of a part of it
        return f"{_shown(given)}: letters, digits and . _ - only, a letter or digit first"
    return f"{_shown(given)} is not written as expected"


def _shown(given: Any) -> str:
    """A value as TOML writes it, cut short. Tables and lists may hold secrets, so they are only named."""
    match given:
        case bool():
            return str(given).lower()
        case str():
            return f'"{given[:_LONGEST]}"'
        case dict():
            return "a table"
        case list():
            return "a list"
        case _:
            return str(given)[:_LONGEST]


def _words(expected: str) -> list[str]:
    """The choices of a literal, which pydantic joins to a text: `'a', 'b' or 'c'`."""
    return expected.replace(" or ", ", ").split(", ")


def _either(known: Sequence[str]) -> str:
    quoted = [f'"{one}"' for one in known]
    return " or ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def no_problem(bad: Sequence[Quarantined]) -> str:
    """Why there is nothing to label, with the place and reason of the first bad row."""
    if not bad:
        return "no usable problem: it holds no row"
    first = bad[0]
    column = f", column {first.field!r}" if first.field else ""
    table = first.reason.startswith("not valid JSON")
    # The most frequent cause of bad JSON is a table with another ending, such as .txt.
    hint = '; a table is read if its name ends in .csv or .tsv, or with format = "csv"' if table else ""
    return (
        f"no usable problem; the first of {len(bad)} bad rows: {first.file}, row {first.row}{column}: "
        f"{first.reason}{hint}"
    )
