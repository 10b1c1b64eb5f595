"""Poems of a form that was asked for: how many have it, how much of them is copied, how well test poems are foretold.

    python -m benchmarks.poems --data FOLDER [--minutes M] [--count N]

Prepares Tang poems (zh_poetry/tang) by characters under form and title, trains a GPT and asks it for poems of the forms
and titles of test poems, with the sampling that `generate` has if nothing is said: of the first ones whose title stands
in no training poem and whose form fits into a row, as longer poems are cut in training.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from app.evaluate import evaluate
from app.prepare import prepare
from app.pretrain import pretrain
from app.terminal import load_tensorflow, progress_bar
from app.writing import SAMPLING
from benchmarks import peers
from benchmarks.peers import RESULTS, read
from data import poems

SEEDS = 3
BATCH_POEMS = 100
SIZE = {"num_layers": 4, "hidden_dim": 128}
VOCABULARY_SIZE = 8192  # characters
ROW, HEADING = 128, 8  # characters of a row; of a form, ends of lines and special tokens, at most
SHOWN = 4  # poems in the file of figures, the first ones drawn


def train(data, work, minutes):
    """The run folder of a GPT of Tang poems."""
    folder = work / f"poems-{minutes:g}min"
    if not (folder / "config.json").exists():
        corpus = work / "poems-corpus"
        prepare(str(data / "tang.train.jsonl.gz"), to=corpus, validation=(str(data / "tang.dev.jsonl.gz"),),
                held_out=(str(data / "tang.test.jsonl.gz"),), text_column="paragraphs", heading_columns=("form", "title"),
                characters=True, vocabulary_size=VOCABULARY_SIZE)
        pretrain(corpus, to=folder, objective="clm", minutes=minutes, **SIZE)
    return folder


def asked(test, train_titles, count):
    """(form, title) of the first test poems that have a form, a title of their own and room in a row; the short ones
    first, since those of a batch are written together."""
    found = [(poem["form"], poem["title"]) for poem in test
             if poems.FORM.fullmatch(poem["form"]) and poem["title"] and poem["title"] not in train_titles]
    fitting = [(form, title) for form, title in found if room(form) + len(title) + HEADING <= ROW]
    return sorted(fitting[:count], key=lambda one: room(one[0]))


def room(form):
    """How many characters a poem of a form may take, punctuation and ends of lines among them."""
    lines, characters = poems.read_form(form)
    return lines * (characters + 2)


def write(generator, wanted, seed):
    """A poem, without its headings, for each form and title."""
    import tensorflow as tf

    from models.generation import Sampling

    sampling = Sampling(**{name: value for name, value in SAMPLING.items() if name != "tokens"})
    written = []
    with progress_bar(f"write, seed {seed}", len(wanted), "poems") as advance:
        for start in range(0, len(wanted), BATCH_POEMS):
            part = wanted[start : start + BATCH_POEMS]
            prompts = tf.constant([poems.beginning(form, title, "") for form, title in part])
            seeds = tf.range(start, start + len(part)) + 1_000_000 * seed
            longest = max(room(form) for form, _ in part) + 1  # the end counts
            written += [poems.body(text.decode())
                        for text in generator.texts(prompts, seeds, longest, sampling).numpy()]
            advance(len(part))
    return written


def longest_runs(written, known):
    """For each text the length of its longest run of characters, punctuation left out, that a known text holds."""
    written, known = (["".join(poems.BETWEEN_LINES.split(text)) for text in texts] for texts in (written, known))
    lengths, open_texts = np.zeros(len(written), int), set(range(len(written)))
    for length in range(1, 1 + max(map(len, written), default=0)):
        runs = {text[start : start + length] for text in known for start in range(len(text) - length + 1)}
        open_texts = {number for number in open_texts if any(
            written[number][start : start + length] in runs for start in range(len(written[number]) - length + 1))}
        if not open_texts:
            break
        lengths[list(open_texts)] = length
    return lengths


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the open sets")
    parser.add_argument("--work", type=Path, default=Path("runs/poems"), help="where corpus and run go")
    parser.add_argument("--minutes", type=float, default=30, help="of training")
    parser.add_argument("--count", type=int, default=1000, help="poems asked for, at most, by each seed")
    parser.add_argument("--to", type=Path, default=RESULTS / "poems.json", help="where the figures go")
    arguments = parser.parse_args()
    load_tensorflow()
    from app.generator import load_generator

    data = arguments.data / "zh_poetry"
    arguments.work.mkdir(parents=True, exist_ok=True)
    run = train(data, arguments.work, arguments.minutes)
    known, test = (read(data / f"tang.{split}.jsonl.gz") for split in ("train", "test"))
    wanted = asked(test, {poem["title"] for poem in known}, arguments.count)
    generator = load_generator(run)
    texts = [normalized(generator.tokenizer, poem) for poem in known]
    runs, drawn = [], []
    for seed in range(SEEDS):
        written = write(generator, wanted, seed)
        drawn.append(written)
        copied = longest_runs(written, texts)
        runs.append({"in_form": [poems.has_form(poem, form) for poem, (form, _) in zip(written, wanted)],
                     "longest_copied_run": int(copied.max()), "mean_copied_run": float(copied.mean()),
                     "examples": [{"form": form, "title": title, "poem": poem}
                                  for poem, (form, title) in zip(written[:SHOWN], wanted)]})
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    measured = evaluate(run, data=str(heading_file(test, arguments.work)))
    people = [normalized(generator.tokenizer, poem) for poem in test if poem["form"] in {form for form, _ in wanted}]
    human = longest_runs(people, texts)
    lists = arguments.work / "written.json"
    lists.write_text(json.dumps([people, *drawn], ensure_ascii=False), encoding="utf-8")
    of_people, *sounds = peers.run("poems_peer", lists)
    for one, sound in zip(runs, sounds):
        one |= {"rhyming": sound["rhyming"], "level": sound["level"]}
    results = {"machine": peers.machine(), "minutes": arguments.minutes, "steps": config["step"],
               "forms": [form for form, _ in wanted],
               "test": {name: measured[name] for name in ("loss", "perplexity", "n_examples")},
               "of_people": {"longest_copied_run": int(human.max()), "mean_copied_run": float(human.mean()),
                             "rhyming": of_people["rhyming"], "level": of_people["level"]}, "runs": runs}
    peers.save(arguments.to, results, table(results))


def normalized(tokenizer, poem):
    """A poem's text as the tokenizer reads it."""
    return tokenizer.normalize(["\n".join(poem["paragraphs"])]).numpy()[0].decode()


def heading_file(test, work):
    """Test poems under their headings as a source for `evaluate`."""
    path = work / "test.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        for poem in test:
            text = "\n".join([poem["form"], " ".join((poem["title"] or "").split()), *poem["paragraphs"]])
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    return path


def share_in_form(results):
    """The share of all poems that have the form that was asked for."""
    return float(np.mean([run["in_form"] for run in results["runs"]]))


def table(results):
    """The figures as Markdown."""
    forms, runs = np.array(results["forms"]), results["runs"]
    shares = np.array([run["in_form"] for run in runs])  # (seeds, N)
    test = results["test"]
    lines = [f"{results['minutes']:g} minutes, {results['steps']:,} steps; test poems: loss {test['loss']:.3f} nats a "
             f"character, perplexity {test['perplexity']:.1f}", "",
             "| form | asked for | in form |", "|---|---|---|"]
    for form, count in Counter(results["forms"]).most_common(8):
        lines.append(f"| {form} | {count} × {len(runs)} | {shares[:, forms == form].mean():.1%} |")
    lines.append(f"| all | {len(forms)} × {len(runs)} | {share_in_form(results):.1%} (seeds {shares.mean(axis=1).min():.1%} to "
                 f"{shares.mean(axis=1).max():.1%}) |")
    lines += ["", "Longest run of characters that also stands in a training poem: "
              f"{np.mean([run['mean_copied_run'] for run in runs]):.1f} on average, at most "
              f"{max(run['longest_copied_run'] for run in runs)}; of people's test poems "
              f"{results['of_people']['mean_copied_run']:.1f}, at most {results['of_people']['longest_copied_run']}.", "",
              f"Even lines that rhyme, all of a poem's: {np.mean([run['rhyming'] for run in runs]):.1%} (people's "
              f"{results['of_people']['rhyming']:.1%}); that end in a level tone: "
              f"{np.mean([run['level'] for run in runs]):.1%} (people's {results['of_people']['level']:.1%}), by today's "
              "sounds."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
