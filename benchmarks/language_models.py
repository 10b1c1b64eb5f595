"""How well GPTs foretell held-out text: Shakespeare by characters, WikiText-2 by words.

    python -m benchmarks.language_models --data FOLDER [--work FOLDER] [tinyshakespeare] [wikitext2]

Tiny Shakespeare as nanoGPT cuts it, the last tenth to measure by; WikiText-2 as it comes, in words with spaces between
them and <unk>, an article a document without the ends of its lines: its perplexity is that of a word, whatever the
tokens are. Both tests hold text that training has not seen, and nothing was chosen by them. Figures that are in the
file already are kept for those that are not measured again.
"""

import gzip
import json
import re
from pathlib import Path

from app.evaluate import evaluate
from app.prepare import prepare
from app.pretrain import pretrain
from benchmarks.peers import measure_sets

# Minutes of training, options of `prepare`, of `pretrain` and of both `prepare` and `evaluate`.
SETS = {
    "tinyshakespeare": (10, {"characters": True, "sequence_length": 256},
                        {"num_layers": 4, "batch_size": 16, "dropout": 0.1}, {"whole_files": True}),
    "wikitext2": (45, {"keep_case": True, "sequence_length": 256},
                  {"num_layers": 4, "batch_size": 16, "dropout": 0.1}, {}),
}
HEADING = re.compile("= [^=].*[^=] =")  # of an article, not of a part of one
FIGURES = ("n_examples", "tokens", "words", "characters", "unknown", "loss", "word_perplexity", "bits_per_character")


def tinyshakespeare(source, folder):
    """Writes nanoGPT's two parts; returns {"train", "validation", "test": file}."""
    text = gzip.decompress((source / "input.txt.gz").read_bytes()).decode()
    files = {"train": folder / "train.txt", "test": folder / "val.txt"}
    cut = len(text) * 9 // 10
    for file, part in zip(files.values(), (text[:cut], text[cut:])):
        file.write_text(part, encoding="utf-8")
    return {**files, "validation": files["test"]}


def wikitext2(source, folder):
    """Writes the articles of each part, a line each; returns {"train", "validation", "test": file}."""
    files = {}
    for part, name in (("train", "train"), ("validation", "valid"), ("test", "test")):
        with gzip.open(source / f"wiki.{name}.tokens.gz", "rt", encoding="utf-8") as lines:
            articles = in_articles(filter(None, map(str.strip, lines)))
        files[part] = folder / f"{part}.jsonl"
        files[part].write_text("".join(json.dumps({"text": " ".join(article)}) + "\n" for article in articles),
                               encoding="utf-8")
    return files


def in_articles(lines):
    """Lists of lines, each from an article's heading to the next one's."""
    articles = []
    for line in lines:
        if HEADING.fullmatch(line) or not articles:
            articles.append([])
        articles[-1].append(line)
    return articles


def measure(name, data, work):
    """Trains, unless that is done, and tests; returns the figures."""
    minutes, of_corpus, of_model, of_both = SETS[name]
    files = {"tinyshakespeare": tinyshakespeare, "wikitext2": wikitext2}[name](data / name, work)
    corpus, run = work / "corpus", work / "run"
    prepare(str(files["train"]), validation=(str(files["validation"]),), to=corpus, **of_corpus, **of_both)
    if not (run / "config.json").exists():
        pretrain(corpus, objective="clm", to=run, minutes=minutes, **of_model)
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    measured = evaluate(run, data=str(files["test"]), **of_both)
    return {"minutes": minutes, "steps": config["step"], "tokens_seen": config["tokens"],
            "options": of_model, **{figure: measured[figure] for figure in FIGURES}}


def table(results):
    """The figures as Markdown."""
    lines = ["| text | minutes | steps | loss, nats a token | perplexity of a word | bits a character |",
             "|---|---|---|---|---|---|"]
    lines += [f"| {name} | {one['minutes']:g} | {one['steps']:,} | {one['loss']:.3f} | {one['word_perplexity']:,.1f} | "
              f"{one['bits_per_character']:.3f} |" for name, one in results.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    measure_sets(__doc__.splitlines()[0], SETS, measure, table, "language_models")
