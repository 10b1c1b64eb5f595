"""Tables of what people chose → each person's items in order of time, and what the items are called."""

import dataclasses
import itertools
import math
from datetime import datetime, timezone

from data.sources import clean_text, find_column, read_tables

USER_COLUMNS = ("user", "user_id", "userid", "customer", "customer_id", "visitor", "visitor_id", "reader", "用户")
ITEM_COLUMNS = ("item", "item_id", "itemid", "movie", "movie_id", "movieid", "product", "product_id", "book", "book_id",
                "article_id", "asin", "id", "物品", "商品")
TIME_COLUMNS = ("time", "timestamp", "date", "datetime", "时间", "日期")
TITLE_COLUMNS = ("title", "name", "item_title", "标题", "名称")
GENRES_COLUMNS = ("genres", "genre", "categories", "category", "tags", "类别", "分类")
CANDIDATES = {"user": USER_COLUMNS, "item": ITEM_COLUMNS, "time": TIME_COLUMNS, "title": TITLE_COLUMNS,
              "genres": GENRES_COLUMNS}
FEWEST = 3  # items of a user: one to test with, one to choose by, one to train on


@dataclasses.dataclass(frozen=True)
class Interactions:
    """What people chose.

    Attributes:
        users: U names.
        histories: U lists of items' names, in order of time, each item once.
        titles: {item: (its title, its whole text: title and genres)}; items without a title are missing.
        repeated: how often a user chose an item again, which does not count.
    """

    users: list
    histories: list
    titles: dict
    repeated: int


def read_interactions(sources, skipped, *, items=(), columns=None):
    """Reads who chose which item, and what the items are called.

    Args:
        sources: as for `data.sources.read_tables`, with a column of users and one of items, if they have them of
            times and of titles; without times the order of the rows counts.
        skipped: `SkippedRows`; rows without a user, an item or, where there is a column, a time are counted there.
        items: sources with a column of items and one of titles, if they have it of genres; the first title counts.
        columns: {"user", "item", "time", "title" or "genres": the column's name}; those that are left out or None are
            found by name in each file.

    Returns:
        `Interactions`; of equal times the earlier row comes first.

    Raises:
        ValueError: no usable row, or a column that is not there.
    """
    named = {role: name for role, name in (columns or {}).items() if name}
    titles, chosen, found = {}, {}, set()
    for row in _rows(items, skipped, named, ("item", "title"), found):
        if row.item:
            _add_title(titles, row)
        else:
            skipped.add("no item", row.place)
    for row in _rows(sources, skipped, named, ("user", "item"), found):
        if not row.user or not row.item:
            skipped.add("no item" if row.user else "no user", row.place)
        elif row.seconds is None:
            skipped.add("a time that is neither a number nor a date such as 2024-05-31", row.place)
        else:
            _add_title(titles, row)
            chosen.setdefault(row.user, []).append((row.seconds, row.item))
    for role in named.keys() - found:
        raise ValueError(f"there must be a column {named[role]} for the {role}. Received: none of that name in "
                         f"{', '.join([*sources, *items])}")
    if not chosen:
        raise ValueError("interactions need at least one row with a user and an item. Received: none in "
                         f"{', '.join(sources)}")
    histories = []
    for pairs in chosen.values():
        pairs.sort(key=lambda pair: pair[0])  # stable
        histories.append(list(dict.fromkeys(item for _, item in pairs)))
    repeated = sum(map(len, chosen.values())) - sum(map(len, histories))
    return Interactions(list(chosen), histories, titles, repeated)


@dataclasses.dataclass(frozen=True)
class _Row:
    """The cells of a row: "" where there is nothing or NaN; 0 seconds without a column of times, None for no time."""

    user: str
    item: str
    title: str
    genres: str
    seconds: float | None
    place: str


def _rows(sources, skipped, named, required, found):
    """Yields a `_Row` for each row; adds the roles whose columns are there to `found`."""
    usual = [name for names in CANDIDATES.values() for name in names]
    for table in itertools.chain.from_iterable(
            read_tables(source, skipped, header_names=[*named.values(), *usual]) for source in sources):
        columns = None
        for row in table:
            if columns is None:
                columns = _columns(row, named, required)
                found.update(columns)
            cells = {role: clean_text(row.get(column) or "") for role, column in columns.items()}
            cells = {role: "" if cell.casefold() == "nan" else cell for role, cell in cells.items()}
            seconds = _seconds(cells["time"]) if "time" in cells else 0.0
            texts = (cells.get(role, "") for role in ("user", "item", "title", "genres"))
            yield _Row(*texts, seconds, row.place)


def _columns(row, named, required):
    """{role: the name of its column} of those that are there."""
    columns = {}
    for role, candidates in CANDIDATES.items():
        try:
            columns[role] = find_column(row, named.get(role), candidates, role)
        except ValueError:
            if role in required:
                raise
    return columns


def _seconds(text):
    """A number, or a date or time in ISO 8601 (UTC unless it says otherwise) in seconds; None for anything else."""
    try:
        number = float(text)
        return number if math.isfinite(number) else None
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()


def _add_title(titles, row):
    if row.title:
        titles.setdefault(row.item, (row.title, f"{row.title} {row.genres}".strip()))


def long_enough(interactions):
    """Those users of `Interactions` who can be split; how many cannot.

    Raises:
        ValueError: nobody can.
    """
    kept = [number for number, history in enumerate(interactions.histories) if len(history) >= FEWEST]
    if not kept:
        raise ValueError(f"a user needs {FEWEST} different items: the last one tests, the one before chooses, the rest "
                         f"trains. Received: {len(interactions.users)} users, all with fewer")
    users, histories = ([part[number] for number in kept] for part in (interactions.users, interactions.histories))
    return dataclasses.replace(interactions, users=users, histories=histories), len(interactions.users) - len(kept)
