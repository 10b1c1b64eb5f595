"""Forms of poems are read and held against poems; headings stand above texts, and a GPT is asked by them."""

import json

import pytest

from app.__main__ import main
from app.generate import generate
from app.prepare import prepare
from app.pretrain import pretrain
from benchmarks import poems as benchmark
from data import poems
from data.prepared import load_prepared
from data.sources import SkippedRows, read_texts

POEM = "兩個黃鸝鳴翠柳,一行白鷺上青天。\n窗含西嶺千秋雪,門泊東吳萬里船。"


def test_forms():
    assert poems.read_form("4x7") == poems.read_form(" 4×7") == (4, 7)
    for form in ("", "4", "0x7", "4x0", "x7", "4x7x1", "-4x7", "4x777", "irregular"):
        with pytest.raises(ValueError, match="4x7"):
            poems.read_form(form)
    assert poems.has_form(POEM, "4x7") and poems.has_form(POEM.replace(",", "，"), "4x7")
    for form in ("8x7", "4x5", "2x7"):
        assert not poems.has_form(POEM, form)
    assert not poems.has_form(POEM[:-2], "4x7") and not poems.has_form("", "1x1")
    assert poems.has_form("白日依山盡，黃河入海流。欲窮千里目？更上一層樓！", "4x5")


def test_what_a_document_begins_with():
    assert poems.beginning("4×7", "絕句", "") == "4x7\n絕句\n"
    assert poems.beginning("4x7", " 絕句", "兩個黃鸝鳴翠柳， ") == "4x7\n絕句\n兩個黃鸝鳴翠柳，"
    assert poems.beginning("4x7", "", "兩個黃鸝鳴翠柳，") == "4x7\n\n兩個黃鸝鳴翠柳，"
    assert poems.beginning("4x7", "", "") == "4x7\n"
    assert poems.body("4x7\n絕句\n" + POEM) == POEM and poems.body("4x7\n絕句") == poems.body("4x7") == ""


def test_what_is_copied_by_hand():
    known = ["白日依山盡,黃河入海流。", "白髮三千丈"]
    assert benchmark.longest_runs(["依山黃河入", "山盡。黃河", "紅", "", "白髮三千丈白日"], known).tolist() == [3, 4, 0, 0, 5]
    poems_of = [{"form": "4x5", "title": "春曉"}, {"form": "irregular", "title": "歌"}, {"form": "2x3", "title": "新"},
                {"form": "40x7", "title": "長"}, {"form": "1x2", "title": ""}, {"form": "1x2", "title": "舊"}]
    assert benchmark.asked(poems_of, {"舊"}, 3) == [("2x3", "新"), ("4x5", "春曉")]


def test_rhymes_and_tones_by_hand():
    pytest.importorskip("pypinyin")
    from benchmarks.poems_peer import figures

    tower = "白日依山盡，黃河入海流。欲窮千里目，更上一層樓。"  # liú, lóu: iou and ou rhyme, both are level
    dawn = "春眠不覺曉，處處聞啼鳥。夜來風雨聲，花落知多少。"  # niǎo, shǎo (or shào): iao and ao rhyme, neither is level
    autumn = "天高雲，山水白。日出來，人家東。"  # bái, dōng: no rhyme, both are level
    assert figures([tower]) == {"rhyming": 1, "level": 1, "poems": 1}
    assert figures([dawn]) == {"rhyming": 1, "level": 0, "poems": 1}
    assert figures([tower, dawn, autumn, "一二三，四五六。"]) == {"rhyming": pytest.approx(2 / 3), "level": pytest.approx(2 / 3),
                                                             "poems": 3}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """.jsonl of 40 small poems in the columns form, title and lines, a list."""
    rows = []
    for number in range(20):
        title, word = "春夏秋冬"[number % 4], "山水風月花"[number % 5]
        rows += [{"form": "2x3", "title": title, "lines": [f"{title}{word}好，", f"{word}{title}來。"]},
                 {"form": "2x2", "title": title, "lines": [f"{title}{word}，", f"{word}{title}。"]}]
    path = tmp_path_factory.mktemp("poems") / "poems.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_headings_stand_above_and_are_left_out_of_a_tenth(source, tmp_path):
    def read(path):
        return list(read_texts([str(path)], SkippedRows(), "lines", heading_columns=("form", "title")))

    texts = read(source)
    assert "2x2\n春\n春山，\n山春。" in texts
    many = [{"form": "1x3", "title": "數", "lines": [f"第{number}。"]} for number in range(1000)]
    found = []
    for name, rows in (("all", many), ("last", many[1:])):  # each at another place of its file
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        found.append(read(path))
    assert found[0][1:] == found[1] and 70 < sum(text.startswith("1x3\n\n") for text in found[0]) < 130
    path = tmp_path / "some.jsonl"
    path.write_text('{"lines": ["a", "b"], "form": "two\\nlines"}\n{"lines": "", "form": "x"}\n{"lines": [], "form": 1}\n',
                    encoding="utf-8")
    skipped = SkippedRows()
    assert list(read_texts([str(path)], skipped, "lines", heading_columns=("form",))) == ["two lines\na\nb", ""]
    assert skipped.total == 1
    with pytest.raises(ValueError, match="column title for the heading"):
        list(read_texts([str(path)], SkippedRows(), "lines", heading_columns=("form", "title")))


def test_a_gpt_writes_poems_of_the_form_it_is_asked_for(source, tmp_path, capsys):
    corpus, run = tmp_path / "corpus", tmp_path / "run"
    prepare(source, to=corpus, text_column="lines", heading_columns=("form", "title"), characters=True,
            sequence_length=24, near_duplicates=1.0, validation_share=0.1)
    with pytest.raises(ValueError, match="heading_columns"):
        prepare(source, to=corpus, text_column="lines", characters=True, sequence_length=24, near_duplicates=1.0,
                validation_share=0.1)
    assert "\n" in load_prepared(corpus).tokenizer.vocabulary
    pretrain(corpus, to=run, objective="clm", steps=250, batch_size=8, num_layers=1, hidden_dim=32, num_heads=2,
             learning_rate=1e-2)
    for form, title, first in (("2x3", "春", ""), ("2x2", "秋", ""), ("2x3", "", "夏山好，"), ("2x2", "", "")):
        capsys.readouterr()
        (written,) = generate(run, first, form=form, title=title, temperature=0)
        assert written.startswith(f"{form}\n{title}" + (f"\n{first}" if first else ""))
        assert poems.has_form(poems.body(written), form) and "，" in written
        assert "is not" not in capsys.readouterr().out
    generate(run, "春山好，山春來。春山好，", form="2x3")
    assert "this poem is not 2x3" in capsys.readouterr().out
    for arguments, message in ((["--title", "春"], "--form"), (["--form", "0x7"], "4x7"),
                               (["--form", "4x7"], "must fit into the 24 tokens that the model sees")):
        assert main(["generate", str(run), *arguments]) == 2
        assert message in capsys.readouterr().err
