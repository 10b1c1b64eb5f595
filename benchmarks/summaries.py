"""How near summaries and headlines come to people's: parts of the text, and texts written anew, beside its beginning.

    python -m benchmarks.summaries --data FOLDER [--work FOLDER] [summary] [headline]

news_summary, articles of newspapers: ROUGE of the test part. `extract` takes parts of an article as they stand;
`seq2seq` starts from an encoder–decoder that was pretrained by denoising on news, reviews and encyclopedia articles,
none of them of the test part, and writes. Both learn from the train part. Figures that are in the file already are kept
for those that are not measured again.
"""

import json

from app.evaluate import evaluate
from app.extract import extract
from app.prepare import prepare
from app.pretrain import pretrain
from app.seq2seq import seq2seq
from benchmarks.accuracy import plain_wikitext
from benchmarks.peers import measure_sets, read, table_row

# Options of `seq2seq`.
SETS = {"summary": {"minutes": 15, "source_length": 256, "target_length": 112, "batch_size": 16},
        "headline": {"minutes": 10, "source_length": 256, "target_length": 32, "batch_size": 16}}
# Of the search; on the development part texts without it have ROUGE-1 of 36.8 (with it 44.2) and 22.3 (24.0).
SEARCH = {"no_repeat_ngram_size": 3}
PRETRAINING = {"minutes": 30, "num_layers": 3, "batch_size": 16}
FURTHER = ("agnews/train.jsonl.gz", "imdb/train.jsonl.gz")
ROUGE = ("rouge1", "rouge2", "rougeL")
ROWS = {"lead1": "the first sentence", "lead3": "the first three sentences", "extract": "`extract`",
        "seq2seq": "`seq2seq --backbone`", "oracle": "about the best extracts there are"}


def pretrained(data, work):
    """The folder of the pretraining by denoising, done if it is not there yet."""
    corpus, folder = work / "corpus", work / "backbone"
    if not (folder / "config.json").exists():
        work.mkdir(exist_ok=True)
        articles = work / "articles.jsonl"
        articles.write_text("".join(json.dumps({"text": row["article"]}, ensure_ascii=False) + "\n"
                                    for row in read(data / "news_summary" / "train.jsonl.gz")), encoding="utf-8")
        wikitext = plain_wikitext(data / "wikitext2" / "wiki.train.tokens.gz", work / "wikitext.txt")
        prepare((str(articles), *(str(data / file) for file in FURTHER), str(wikitext)), to=corpus, keep_case=True,
                sequence_length=256)
        pretrain(corpus, objective="denoise", to=folder, **PRETRAINING)
    return folder


def measure(name, data, work):
    """Trains both, unless that is done, and tests; returns the figures."""
    train, validation, test = (str(data / "news_summary" / f"{part}.jsonl.gz") for part in ("train", "dev", "test"))
    columns = {"text_column": "article", "target_column": name}
    backbone = pretrained(data, work.parent / "pretraining")
    extractor, writer = work / "extract", work / "seq2seq"
    if not (extractor / "config.json").exists():
        extract(data=(train,), to=extractor, **columns)
    if not (writer / "config.json").exists():
        seq2seq(data=(train,), validation=(validation,), backbone=backbone, to=writer, **columns, **SETS[name])
    parts = evaluate(extractor, data=test, **columns)
    written = evaluate(writer, data=test, **columns, **SEARCH)
    scores = {**parts["beside"], "extract": parts, "seq2seq": written}
    return {"pretraining": PRETRAINING, "options": SETS[name], "search": SEARCH, "n_examples": parts["n_examples"],
            "steps": [json.loads((run / "config.json").read_text(encoding="utf-8"))["step"] for run in (backbone, writer)],
            "rouge": {side: [scores[side][kind] for kind in ROUGE] for side in ROWS},
            "examples": written["examples"]}


def rouge(one, side):
    """ROUGE-1, -2 and -L of a row of the table, in per cent, as text."""
    return ", ".join(f"{100 * value:.1f}" for value in one["rouge"][side])


def table(results):
    """The figures as Markdown."""
    lines = ["| ROUGE-1, -2, -L in per cent | " + " | ".join(results) + " |", "|---|" + "---|" * len(results)]
    for side, title in ROWS.items():
        lines.append(table_row(title, *(rouge(one, side) for one in results.values())))
    if headlines := results.get("headline"):
        lines += ["", "The first headlines:", "", "| written | a person's |", "|---|---|"]
        lines += [table_row(example["written"], example["target"]) for example in headlines["examples"]]
    return "\n".join(lines)


if __name__ == "__main__":
    measure_sets(__doc__.splitlines()[0], SETS, measure, table, "summaries")
