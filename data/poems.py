"""Poems of a given form, so many lines of so many characters: what a model is asked with, and whether it obeyed.

A poem stands in its document under two lines, form and title, as `prepare --heading-columns form title` puts them there.
"""

import re

FORM = re.compile(r"(\d{1,3})[x×](\d{1,2})")
BETWEEN_LINES = re.compile(r"[,.!?;:，。！？；：、\s]+")


def read_form(form):
    """"4x7" → (4 lines, 7 characters).

    Raises:
        ValueError: anything else; no line or no character.
    """
    found = FORM.fullmatch(form.strip())
    if not found or 0 in (sizes := tuple(map(int, found.groups()))):
        raise ValueError("a form is LINESxCHARACTERS, such as 4x7: 1 to 999 lines of 1 to 99 characters. "
                         f"Received: {form}")
    return sizes


def beginning(form, title, first_line):
    """What a poem's document begins with.

    Args:
        form: as `read_form` takes it.
        title: "" = the model finds one, or none if there is a first line.
        first_line: may be empty, or more than a line.
    """
    lines, characters = read_form(form)
    headings = f"{lines}x{characters}\n"
    return headings + (f"{title.strip()}\n{first_line.strip()}" if title.strip() or first_line.strip() else "")


def body(document):
    """The poem without its two headings."""
    return document.split("\n", 2)[2] if document.count("\n") > 1 else ""


def has_form(poem, form):
    """True if the poem has so many lines, divided by punctuation, of so many characters each."""
    lines, characters = read_form(form)
    return [len(line) for line in BETWEEN_LINES.split(poem) if line] == [characters] * lines
