"""The peer's side of benchmarks/masked_lm.py, in its environment: transformers' BERT, trained for a budget of minutes.

    rows DATA FOLDER        writes vocab.txt, train.npy, held_out.npy and held_out_labels.npy
    train FOLDER MINUTES    trains on them; prints the evaluations as JSON

The protocol: IMDB's train and unlabelled reviews, a WordPiece vocabulary of 8192, documents joined and cut into rows
of 128, 80-10-10 at 15 %, BERT's dropout of .1, AdamW, warm-up of 6 % and linear decay over the time; held out is every
25th test review, 512 rows under fixed masks.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.peers import read

BATCH_SIZE, LENGTH, VOCABULARY_SIZE, MASK_RATE, LEARNING_RATE = 32, 128, 8192, 0.15, 1e-3
LAYERS, HIDDEN, HEADS = 4, 256, 4
SPECIAL, MASK, HELD_OUT_ROWS, EVALUATION_BATCH, EVALUATIONS = 5, 4, 512, 64, 10
IGNORED = -100


def write_rows(data, folder):
    """Trains the vocabulary, joins and cuts the documents, draws the held-out masks."""
    from tokenizers import BertWordPieceTokenizer

    documents, held_out = ([row["text"].replace("<br />", " ") for name in names
                            for row in read(data / "imdb" / f"{name}.jsonl.gz")]
                           for names in (("train", "unlabelled"), ("test",)))
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(documents, vocab_size=VOCABULARY_SIZE, show_progress=False)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_model(str(folder))

    def pack(texts):
        ids = []
        for start in range(0, len(texts), 1000):
            for encoding in tokenizer.encode_batch(texts[start : start + 1000]):
                ids += encoding.ids
        return np.array(ids[: len(ids) // LENGTH * LENGTH], np.int64).reshape(-1, LENGTH)

    np.save(folder / "train.npy", pack(documents).astype(np.uint16))
    rows = torch.from_numpy(pack(held_out[::25])[:HELD_OUT_ROWS])
    generator = torch.Generator().manual_seed(1)
    shown, labels = zip(*(mask(batch, generator) for batch in rows.split(EVALUATION_BATCH)))
    np.save(folder / "held_out.npy", torch.cat(shown).numpy())
    np.save(folder / "held_out_labels.npy", torch.cat(labels).numpy())


def mask(rows, generator=None):
    """Rows int64 (B, L) as the model sees them and the labels, IGNORED where nothing is asked."""
    chosen = (torch.rand(rows.shape, generator=generator) < MASK_RATE) & (rows >= SPECIAL)
    labels = torch.where(chosen, rows, IGNORED)
    kind = torch.rand(rows.shape, generator=generator)
    rows = rows.clone()
    rows[chosen & (kind < 0.8)] = MASK
    random = chosen & (kind >= 0.9)
    rows[random] = torch.randint(SPECIAL, VOCABULARY_SIZE, (int(random.sum()),), generator=generator)
    return rows, labels


def train(folder, minutes):
    """Trains for so many minutes, evaluations not counted; a list of {"minutes", "steps", "tokens", "loss"}."""
    from transformers import BertConfig, BertForMaskedLM

    torch.set_num_threads(os.cpu_count())
    torch.manual_seed(0)
    rows = torch.from_numpy(np.load(folder / "train.npy").astype(np.int64))
    held_out, held_out_labels = (torch.from_numpy(np.load(folder / f"{name}.npy")).split(EVALUATION_BATCH)
                                 for name in ("held_out", "held_out_labels"))
    model = BertForMaskedLM(BertConfig(vocab_size=VOCABULARY_SIZE, hidden_size=HIDDEN, num_hidden_layers=LAYERS,
                                       num_attention_heads=HEADS, intermediate_size=4 * HIDDEN,
                                       max_position_embeddings=512))
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01, betas=(0.9, 0.98))

    def evaluate():
        model.eval()
        total = count = 0
        with torch.no_grad():
            for shown, labels in zip(held_out, held_out_labels):
                asked = int((labels != IGNORED).sum())
                total += model(input_ids=shown, labels=labels).loss.item() * asked
                count += asked
        model.train()
        return total / count

    evaluations, seconds, steps, order = [], 0.0, 0, ()
    model.train()
    while (spent := seconds / (60 * minutes)) < 1:
        started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (spent + 1e-3) / 0.06) * (1 - spent)
        if len(order) < BATCH_SIZE:
            order = torch.randperm(len(rows))
        shown, labels = mask(rows[order[:BATCH_SIZE]])
        order = order[BATCH_SIZE:]
        model(input_ids=shown, labels=labels).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        steps += 1
        seconds += time.perf_counter() - started
        if int(EVALUATIONS * seconds / (60 * minutes)) > int(EVALUATIONS * spent):
            evaluations.append({"minutes": seconds / 60, "steps": steps, "tokens": steps * BATCH_SIZE * LENGTH,
                                "loss": evaluate()})
            print(f"transformers, {seconds / 60:.1f} minutes, {steps} steps: "
                  f"held-out loss {evaluations[-1]['loss']:.3f}", file=sys.stderr, flush=True)
    return evaluations


if __name__ == "__main__":
    if sys.argv[1] == "rows":
        write_rows(*map(Path, sys.argv[2:]))
        print("null")
    else:
        print(json.dumps(train(Path(sys.argv[2]), float(sys.argv[3]))))
