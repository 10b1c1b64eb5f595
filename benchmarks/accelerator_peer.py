"""The peer of benchmarks/accelerator.py: transformers' BERT on PyTorch, trained on the same batches."""

import time

import numpy as np
import torch
from transformers import BertConfig, BertForMaskedLM


class TorchSide:
    """transformers' BertForMaskedLM under torch.compile; it projects every position on the vocabulary.

    A position sees the whole row, its neighbours' documents too.
    """

    def __init__(self, config, precision, learning_rate):
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(0)
        torch.set_float32_matmul_precision("high")
        self.model = BertForMaskedLM(BertConfig(
            vocab_size=config.vocabulary_size, hidden_size=config.hidden_dim, num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads, intermediate_size=config.intermediate_dim,
            max_position_embeddings=config.sequence_length, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0)).to(self.device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), learning_rate, fused=True)
        dtype = getattr(torch, precision)

        def loss(token_ids, padding_mask, labels):
            with torch.autocast(self.device, dtype, enabled=precision != "float32"):
                return self.model(input_ids=token_ids, attention_mask=padding_mask, labels=labels).loss

        self.loss = torch.compile(loss)

    def train(self, batches, steps):
        """Returns (seconds, the losses float (steps,))."""
        started = time.perf_counter()
        losses = []
        for _ in range(steps):
            batch = next(batches)
            labels = np.full(batch["token_ids"].shape, -100)
            np.put_along_axis(labels, batch["mask_positions"],
                              np.where(batch["sample_weight"] > 0, batch["labels"], -100), axis=1)
            loss = self.loss(*(torch.from_numpy(array).to(self.device, torch.long, non_blocking=True)
                               for array in (batch["token_ids"], batch["segment_ids"] > 0, labels)))
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            losses.append(loss.detach())
        losses = [float(loss) for loss in losses]  # waits for the device
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started, losses
