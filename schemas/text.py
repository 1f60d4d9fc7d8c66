"""Makes texts of models, servers and files safe to print in a terminal, in one line, or in Markdown."""

import re

_LONGEST_LINE = 4_000  # characters: about fifty lines of a terminal, in case a server's error page is quoted
_CODE = re.compile(r"[\w .,:;/@+=()~%&?!'-]*", re.ASCII)
"""Texts of characters that look the same in a code span, in a table and in HTML."""
# Characters that Markdown or HTML give a meaning: anywhere, at a line's start (`- item`, `+`, `=`), or after
# a digit there (`1. item`).
_MARKUP = re.compile(r"[\\`*_{}\[\]()#|~!<>&\"$@:]|^[-+=]|(?<=^\d)\.")


def shown(text: str) -> str:
    """The text with every control character replaced, since these could move a terminal's cursor.

    Line ends and tabs stay. Each character becomes one character, so places in the text stay where they are.
    """
    if text.isprintable():
        return text
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def one_line(text: str, most: int = _LONGEST_LINE) -> str:
    """The text as one line of at most `most` characters, without control characters."""
    line = shown(" ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 3]}..."


def in_markdown(text: str) -> str:
    """As words of a Markdown line or table cell: neither markup nor HTML, whatever it holds."""
    return _MARKUP.sub(lambda match: f"&#{ord(match[0])};", one_line(text))


def as_code(text: str) -> str:
    """As code in a Markdown line or table cell. A code span cannot hold every text; HTML's element can."""
    line = one_line(text)
    if line and _CODE.fullmatch(line):
        return f"`{line}`"
    return f"<code>{_MARKUP.sub(lambda match: f'&#{ord(match[0])};', line)}</code>"
