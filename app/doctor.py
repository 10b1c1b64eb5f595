"""The installation in, a table out: what is there, what would go wrong and how to mend it."""

import dataclasses


def doctor() -> dict:
    """Say what is installed, what would go wrong, and how to mend it. Exit code 1 if something would fail.

    Returns:
        {"status": the worst of all, "findings": a list of {"status", "what", "mend"}}.
    """
    from rich.table import Table
    from rich.text import Text

    from app.installation import FAIL, OK, WARN, examine
    from app.terminal import console

    findings = examine()
    table = Table(show_lines=False)
    for column in ("", "what", "how to mend it"):
        table.add_column(column, overflow="fold")
    colours = {OK: "green", WARN: "yellow", FAIL: "bold red"}
    for finding in findings:
        table.add_row(Text(finding.status, colours[finding.status]), Text(finding.what), Text(finding.mend))
    console.print(table)
    status = max((finding.status for finding in findings), key=(OK, WARN, FAIL).index)
    console.print({OK: "All is well.", WARN: "It will work; see the warnings.",
                   FAIL: "Something would fail; see above."}[status])
    return {"status": status, "findings": [dataclasses.asdict(finding) for finding in findings]}
