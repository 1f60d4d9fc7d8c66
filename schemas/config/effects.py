"""Marks on settings that say what they have an effect on.

From these marks alone it follows which settings make a run another run, and which may change when it goes on.
A field is marked by `Annotated[int, Effect.SPEED]`. A field without a mark inherits that of its section, so a
new field in a section of votes belongs to the run's identity until somebody decides otherwise.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from schemas.sections import classes_of


class Effect(StrEnum):
    """What a setting can change."""

    VOTES = "votes"
    """The votes: it belongs to the run's identity."""
    CONTENT = "content"
    """The votes, too, but what counts is the content and not the name: a template's text, a model's files
    (`pipeline.runs.identity`)."""
    SPEED = "speed"
    """How fast, where, or how far the run goes: it may change when the run goes on."""
    LATER = "later"
    """What is made of the votes: labels, PRMs and their measurements."""


ADDED = "added later"
"""The mark of a setting of votes that earlier versions did not have. At its default it is left out of the
digest, so that runs from before keep theirs: `Annotated[int, ADDED]`."""


class AddedAs(NamedTuple):
    """Marks a setting as `ADDED` whose default is not what earlier versions did. They did `was`: that is left
    out of the digest, and read from a run.toml that says nothing (`schemas.config.earlier`)."""

    was: Any


class SpeedKeys(NamedTuple):
    """Marks a table of votes: the keys of it that have an effect on the speed only."""

    names: frozenset[str]


class Setting(NamedTuple):
    """A field of a section, the place it has in a run file, and its effect."""

    place: tuple[str, ...]
    section: type[BaseModel]
    name: str
    effect: Effect | None


def mark_of(field: FieldInfo) -> Effect | None:
    """The mark of a field itself, if it has one."""
    return next((mark for mark in field.metadata if isinstance(mark, Effect)), None)


def is_added(field: FieldInfo) -> bool:
    """Whether earlier versions did not have a setting."""
    return any(mark == ADDED or isinstance(mark, AddedAs) for mark in field.metadata)


def before(field: FieldInfo) -> Any:
    """The value of a setting by which versions that did not have it are told."""
    return next((mark.was for mark in field.metadata if isinstance(mark, AddedAs)), field.default)


def every_setting(
    section: type[BaseModel], inherited: Effect | None = None, place: tuple[str, ...] = ()
) -> Iterator[Setting]:
    """All fields of a section that hold no sections themselves, those of nested sections included."""
    for name, field in section.model_fields.items():
        effect = mark_of(field) or inherited
        inner = classes_of(field.annotation)
        if not inner:
            yield Setting((*place, name), section, name, effect)
        for one in inner:
            yield from every_setting(one, effect, (*place, name))


def vote_settings(
    section: BaseModel, inherited: Effect | None = None, *, added: bool = True
) -> dict[str, Any]:
    """The settings of a section that can change a vote and are not known by their content, as JSON, nested as
    they are. Without `added`, those that earlier versions did not have are left out at their defaults."""
    plain = section.model_dump(mode="json")
    found: dict[str, Any] = {}
    for name, field in type(section).model_fields.items():
        effect, value = mark_of(field) or inherited, getattr(section, name)
        if not added and is_added(field) and before(field) in (value, _of_votes(plain[name], field)):
            continue
        several = isinstance(value, (tuple, list)) and bool(classes_of(field.annotation))
        if isinstance(value, BaseModel) or several:
            sections = value if several else [value]
            each = [vote_settings(one, effect, added=added) for one in sections]
            inner = each if several else each[0]
            # A section of votes counts although it says nothing: with it an annotator runs.
            if effect is Effect.VOTES or inner and any(inner):
                found[name] = inner
        elif effect is Effect.VOTES:
            found[name] = _of_votes(plain[name], field)
    return found


def by_speed(section: BaseModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings right in a section that have an effect on the speed only, and all others, as JSON."""
    fast: dict[str, Any] = {}
    others: dict[str, Any] = {}
    plain = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        value = plain[name]
        if mark_of(field) is Effect.SPEED:
            fast[name] = value
            continue
        others[name] = _of_votes(value, field)
        if others[name] != value:
            fast[name] = {key: one for key, one in value.items() if key not in others[name]}
    return fast, others


def _of_votes(value: Any, field: FieldInfo) -> Any:
    fast = next((mark.names for mark in field.metadata if isinstance(mark, SpeedKeys)), frozenset[str]())
    return {key: one for key, one in value.items() if key not in fast} if fast else value


def differing(then: object, now: object, place: str = "") -> Iterator[str]:
    """In words, where two results of `vote_settings` differ. Of sections of two kinds only the kinds are
    said."""
    inside = f"{place}." if place else ""
    match then, now:
        case {}, {}:
            # Two kinds differ in nearly every setting: the kinds are the news, the settings follow from them.
            if then.get("kind") != now.get("kind"):
                then, now = {"kind": then.get("kind")}, {"kind": now.get("kind")}
            for name in sorted({*then, *now}):
                yield from differing(then.get(name), now.get(name), f"{inside}{name}")
        case ([{}, *_], [] | [{}, *_]) | ([], [{}, *_]):
            yield from differing(_by_name(then), _by_name(now), place)
        case ({}, None) | (None, {}):
            yield f"a section [{place}], not without it" if then else f"no section [{place}], not with it"
        case _ if then != now:
            yield f"{place}={then!r}, not {now!r}"


def _by_name(sections: Sequence[Any]) -> dict[str, Any]:
    """The sections of a list by their names, or by their places from 1 where they have none."""
    return {str(one.get("name", number)): one for number, one in enumerate(sections, 1)}
