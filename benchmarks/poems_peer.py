"""Rhymes and tones of Chinese poems by pypinyin, in the peers' environment: FILE with lists of poems, prints JSON.

Today's Mandarin, not that of the Tang: what people's poems reach by it is the measure, not 100 %.
"""

import json
import re
import sys
from pathlib import Path

from pypinyin import Style, pinyin

# The thirteen rhyme groups (shisan zhe): finals that rhyme.
GROUPS = ("a ia ua", "o e uo", "ie ve ê", "i v er -i", "u", "ai uai", "ei uei", "ao iao", "ou iou", "an ian uan van",
          "en in uen vn", "ang iang uang", "eng ing ueng ong iong")
GROUP_OF = {final: number for number, group in enumerate(GROUPS) for final in group.split()}


def readings(character):
    """(rhyme groups, tones 1 to 5) of all readings of a character, two sets; empty for what is no character."""
    finals, tones = (pinyin(character, style=style, heteronym=True, strict=True, errors="ignore")
                     for style in (Style.FINALS, Style.FINALS_TONE3))
    groups = {GROUP_OF[final] for final in (finals[0] if finals else ()) if final in GROUP_OF}
    return groups, {int(final[-1]) if final[-1:].isdigit() else 5 for final in (tones[0] if tones else ())}


def figures(poems):
    """{"rhyming": share of the poems of four lines or more whose even lines all end in one rhyme group, "level": share of
    their even lines that end in a level tone (the first or second), as those of regulated verse do}."""
    rhyming, level = [], []
    for poem in poems:
        lines = [line for line in re.split(r"[,.!?;:，。！？；：、\s]+", poem) if line]
        if len(lines) < 4:
            continue
        ends = [readings(line[-1]) for line in lines[1::2]]
        rhyming.append(bool(set.intersection(*(groups for groups, _ in ends))))
        level += [bool(tones & {1, 2}) for _, tones in ends]
    return {"rhyming": sum(rhyming) / max(1, len(rhyming)), "level": sum(level) / max(1, len(level)), "poems": len(rhyming)}


if __name__ == "__main__":
    print(json.dumps([figures(poems) for poems in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))]))
