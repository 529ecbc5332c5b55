"""Generation with a model directory: transformers and `blt` in turn, behind the same prompt.

Both take the likeliest id of all 260, on so many threads of the processor. transformers reads the
whole text for every byte (use_cache=False) and makes logits of the last place only; `blt` has its
caches. Ours says itself how long bytes behind the first took; of the peer every byte is timed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from transformers import BltForCausalLM

BOS, EOS = 1, 2
BYTE_OFFSET = 4


class Directory:
    """A model directory and a prompt."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.model = BltForCausalLM.from_pretrained(
            arguments.model, dtype=torch.float32, attn_implementation="sdpa"
        ).eval()
        text = Path(arguments.prompt_file).read_bytes()[: arguments.prompt_bytes]
        self.prompt = [BOS] + [byte + BYTE_OFFSET for byte in text]
        name = Path(arguments.model).resolve().parent.name
        self.shape = f"{name}, text of {len(text)} bytes"

    def peer(self, count: int) -> tuple[list[int], float]:
        """-> ids, milliseconds."""
        ids = torch.tensor([self.prompt])
        begin = time.perf_counter()
        with torch.inference_mode():
            for _ in range(count):
                logits = self.model(input_ids=ids, use_cache=False, logits_to_keep=1).logits
                ids = torch.cat([ids, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
        ms = (time.perf_counter() - begin) * 1e3
        return ids[0, len(self.prompt) :].tolist(), ms

    def ours(self, count: int) -> tuple[list[int], float]:
        """-> ids, milliseconds of the bytes behind the first."""
        words = [self.arguments.blt, "generate", "--model", self.arguments.model, "--device", "cpu"]
        words += ["--prompt-ids", ",".join(map(str, self.prompt)), "-n", str(count + 1)]
        words += ["--allow-special", "--json"]
        threads = str(torch.get_num_threads())
        done = subprocess.run(
            words, capture_output=True, text=True, env=dict(os.environ, RAYON_NUM_THREADS=threads)
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        found = json.loads(done.stdout)
        if len(found["ids"]) != count + 1:
            raise RuntimeError(f"the text ends after {len(found['ids'])} ids: another prompt")
        return found["ids"], count / found["bytes_per_s"] * 1e3

    def run(self, empty_row, timed) -> bool:
        """Prints a row a side. -> whether both said the same."""
        count, samples = self.arguments.bytes, {"ours": [], "peer": []}
        expected, _ = self.peer(count)
        same = self.ours(count)[0][:count] == expected
        for _ in range(self.arguments.reps):
            for side in samples:
                samples[side].append(getattr(self, side)(count)[1])
        row = empty_row(self.arguments, "generate", "decode", self.shape, "f32", False)
        row["device"] = f"{processor()}, PyTorch"
        print(json.dumps(timed(row, samples["peer"], count, "bytes/s")), flush=True)
        threads = f"{torch.get_num_threads()} threads"
        own = dict(row, device=processor(), driver=threads, variant="")
        own["commit"] = self.arguments.commit
        print(json.dumps(timed(own, samples["ours"], count, "bytes/s")), flush=True)
        times = statistics.median(samples["peer"]) / statistics.median(samples["ours"])
        words = "the same ids" if same else "OTHER IDS"
        print(f"{words}; {times:.1f} times the peer's bytes/s", file=sys.stderr)
        return same


def processor() -> str:
    """Its name, where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return "cpu"
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, "cpu")
