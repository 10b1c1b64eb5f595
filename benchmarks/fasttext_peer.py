"""fastText on a prepared text file: run by benchmarks/baseline.py inside the peers' environment, prints JSON."""

import json
import sys
import time

import fasttext

train, test, epochs, ngrams = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
started = time.perf_counter()
model = fasttext.train_supervised(train, lr=0.5, epoch=epochs, wordNgrams=ngrams, dim=50, thread=2, bucket=500_000,
                                  verbose=0)
seconds = time.perf_counter() - started
right = total = 0
with open(test, encoding="utf-8") as lines:
    for line in lines:
        label, _, text = line.rstrip("\n").partition(" ")
        # The binding underneath: `predict` itself fails on NumPy 2.
        right += model.f.predict(text + "\n", 1, 0.0, "strict")[0][1] == label
        total += 1
print(json.dumps({"accuracy": right / total, "seconds": seconds}))
