"""The whole chain on real text that comes with ordinary packages: one command, three exported classifiers, one table."""

import json
import shutil
import time
from pathlib import Path

from rich.table import Table

from app.terminal import check_at_least, console

TASKS = {  # task → (sample sets, classes it tells apart)
    "sentiment": ("reviews-en", "reviews-zh"),
    "topic": ("news-zh",),
    "spam": ("sms",),
}
MODELS = {  # what `finetune` is told for each of them
    "baseline": {"model": "baseline", "num_epochs": 2, "ngrams": 100_000, "longest_ngram": 3},
    "scratch": {"fresh": True, "num_epochs": 1, "batch_size": 128},
    # All labels of news titles, development split: .887 at 4e-3, .856 at 1e-3, which is better with few.
    "pretrained": {"num_epochs": 1, "batch_size": 128, "learning_rate": 4e-3},
}
FEW_LABELS = 500
MINIMUM_STEPS = 200  # of the encoders
SEQUENCE_LENGTH = 40
ENCODER = {"num_layers": 2, "hidden_dim": 96, "num_heads": 2, "intermediate_dim": 192}
SENTENCE = "这是一个很好的产品"


def demo(*, to: Path = Path("demo"), pretrain_minutes: float = 1.5) -> dict:
    """Runs the whole chain on real English and Chinese text.

    Prepares one bilingual corpus of film reviews, product reviews, news titles and text messages; pretrains a small
    BERT on it; fine-tunes it for sentiment, topic and spam beside a simple baseline and the same encoder from
    scratch; measures all on test texts that nothing was trained on; exports three SavedModels. The same command
    again goes on where it stopped.

    Args:
        to: the folder for everything it makes.
        pretrain_minutes: how long to pretrain.
    """
    check_at_least(0.01, pretrain_minutes=pretrain_minutes)
    from app.export import export
    from app.prepare import prepare
    from app.pretrain import pretrain

    started = time.monotonic()
    to = Path(to)
    _claim(to, {"pretrain_minutes": pretrain_minutes, "tasks": TASKS, "models": MODELS, "encoder": ENCODER,
                "sequence_length": SEQUENCE_LENGTH, "minimum_steps": MINIMUM_STEPS})
    samples = [sample for names in TASKS.values() for sample in names]
    _headline("1  one corpus of English and Chinese, test texts taken out")
    prepare(tuple(f"sample:{name}:train" for name in samples),
            held_out=tuple(f"sample:{name}:{split}" for name in samples for split in ("validation", "test")),
            to=to / "corpus", sequence_length=SEQUENCE_LENGTH)
    backbone = to / "backbone"
    _headline("2  pretraining by masked language modelling")
    if not (backbone / "config.json").exists():
        pretrain(to / "corpus", to=backbone, minutes=pretrain_minutes, **ENCODER)
    results = {}
    for number, task in enumerate(TASKS, start=3):
        _headline(f"{number}  {task}: the baseline, the encoder from scratch and from the pretrained backbone")
        results[task] = _train_and_measure(task, to, backbone)
    _headline("6  SavedModels that take raw strings")
    exports = {task: to / "export" / task / "1" for task in TASKS}
    for task, folder in exports.items():
        if not folder.exists():
            export(to / "runs" / f"{task}-pretrained", to=folder)
    probability = _positive(to / "runs" / "sentiment-pretrained")
    _last_screen(results, exports, probability, time.monotonic() - started)
    return {"results": results, "probability": probability, "exports": exports}


def _claim(folder, options):
    """Takes a new folder, or goes on in one that the same demo has begun.

    Raises:
        ValueError: the folder was made with other options or by something else.
    """
    from models.run_folder import write_json

    path = folder / "demo.json"
    wanted = json.loads(json.dumps(options))
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != wanted:
        raise ValueError(f"{folder} holds a demo with other options: choose another --to")
    if not path.exists() and folder.exists() and any(folder.iterdir()):
        raise ValueError(f"--to must be a new folder. Received: {folder}, which holds other files")
    write_json(path, wanted)


def _train_and_measure(task, to, backbone):
    """Trains the three models of a task on all and on few labels.

    Returns:
        {(model, number of labels): what `evaluate` returns}.
    """
    from app.evaluate import evaluate
    from app.finetune import finetune

    train, validation, test = (tuple(f"sample:{name}:{split}" for name in TASKS[task])
                               for split in ("train", "validation", "test"))
    results = {}
    for few in (None, FEW_LABELS):
        for name, options in MODELS.items():
            run = to / "runs" / (f"{task}-{name}" + (f"-{few}" if few else ""))
            if not run.exists():
                # With few labels every one is needed for training: nothing is held out and all steps are done.
                held_out = ({"labels": few, "validation_share": 0, "batch_size": 32, "learning_rate": None} if few
                            else {"validation": validation})
                source = {} if name == "baseline" else {"backbone": str(backbone), "minimum_steps": MINIMUM_STEPS}
                try:
                    finetune(data=train, task=task, to=run, sequence_length=SEQUENCE_LENGTH,
                             **{**options, **source, **held_out})
                except KeyboardInterrupt:
                    shutil.rmtree(run, ignore_errors=True)  # half trained: it must not stand in the table
                    raise KeyboardInterrupt("Run the same command again to go on.") from None
            results[name, few] = evaluate(run, data=test)
    return results


def _positive(run):
    """The probability that the sentence is positive."""
    from app.classifier import load_classifier

    classifier = load_classifier(run)
    return float(classifier.probabilities([SENTENCE])[0, classifier.label_names.index("positive")])


def _headline(text):
    console.print()
    console.rule(f"[bold]{text}", align="left")


def _last_screen(results, exports, probability, seconds):
    """The table of all results, the sentence, and where the models lie."""
    names = {"baseline": "baseline", "scratch": "from scratch", "pretrained": "pretrained"}
    table = Table(title="Test split, per cent, 95 % intervals. baseline: Embedding + GlobalAveragePooling; from scratch and "
                        "pretrained: the same encoder", title_justify="left")
    for column in ("task", "model", "accuracy\nall labels", "macro F1\nall labels", f"accuracy\n{FEW_LABELS} labels",
                   f"macro F1\n{FEW_LABELS} labels"):
        table.add_column(column)
    for task, measured in results.items():
        for model, name in names.items():
            cells = []
            for few in (None, FEW_LABELS):
                metrics = measured[model, few]
                for metric in ("accuracy", "macro_f1"):
                    low, high = metrics["intervals"][metric]
                    cells.append(f"{100 * metrics[metric]:.1f} ({100 * low:.1f}–{100 * high:.1f})")
            table.add_row(task if model == "baseline" else "", name, *cells, end_section=model == "pretrained")
    _headline("7  results")
    console.print(table)
    console.print(f"「{SENTENCE}」 is positive with probability {probability:.3f}")
    console.print("SavedModels: " + ", ".join(str(folder) for folder in exports.values()))
    console.print(f"Load one:    python -c \"import tensorflow as tf; model = tf.saved_model.load('{exports['sentiment']}'); "
                  f"print(model.signatures['serving_default'](text=tf.constant(['{SENTENCE}'])))\"", markup=False)
    console.print(f"All in {seconds / 60:.1f} minutes.")
