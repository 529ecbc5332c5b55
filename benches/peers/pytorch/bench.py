"""Times transformers' BLT on the named shapes and prints rows as `blt bench --json` does.

    python bench.py gemm attention model train generate --config s,m --precision f32,bf16 --compile
    blt bench --from ours.jsonl --from t.jsonl --html machines.html
    python bench.py --model blt-demo/model --prompt-file text.txt --blt blt --commit COMMIT

The last times generation with a model directory on the processor, ours in turn with it; see
directory.py.

Shapes are read from benches/configs/*.toml, the same files that `blt bench` reads, or from any
configuration of that kind. Weights and ids are random; rows are static patches, the first of one
byte. A training step is forward, loss, backward, clipping to norm 1, fused AdamW. The peer gets its
best: SDPA attention, known patch lengths, no cache kept while it trains; with --compile every
precision is also timed through torch.compile. Generation recomputes the whole text for every byte
(use_cache=False), which is the only mode of transformers 5.23 that generates what the model says.
"""

import argparse
import gc
import json
import statistics
import sys
import time
import tomllib
import warnings
from pathlib import Path

import torch
import transformers
from transformers import BltConfig, BltForCausalLM
from transformers.utils import logging as transformers_logging

from attention import TYPES, Attention
from directory import Directory
from train_step import device_name, static_lengths

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SCHEMA = 1
# As in `blt bench generate`.
PROMPT_BYTES = 64
LONG_PROMPT_BYTES = 2048
NEW_BYTES = 64
WARM_UP_CALLS = 3
PRECISIONS = ("f32", "tf32", "f16", "bf16")
# Sides of square products: on a card, and on a processor.
SIDES = {"cuda": (4096, 8192), "cpu": (512,)}
# Products are repeated until a sample takes this long.
SAMPLE_MS = 20.0


class Shape:
    """A model and a batch, from a configuration of `blt train`."""

    def __init__(self, name: str):
        path = CONFIGS / f"{name}.toml"
        path = path if path.exists() else Path(name)
        with open(path, "rb") as file:
            table = tomllib.load(file)
        self.name = path.stem
        self.model = table["model"]
        self.entropy = table.get("entropy_model", {})
        data = table["data"]
        self.batch = data["batch_size"]
        self.patch_bytes = int(data.get("patcher_args", {}).get("patch_size", 4))
        most = self.patch_bytes * (data["seq_len"] - 1)
        self.row_bytes = min(data["max_encoder_seq_length"], most)

    def part(self, name: str) -> dict:
        width = self.model[f"dim_{name}"]
        return dict(
            hidden_size=width,
            num_hidden_layers=self.model[f"n_layers_{name}"],
            num_attention_heads=self.model[f"n_heads_{name}"],
            intermediate_size=ffn_width(width, self.model.get("multiple_of", 256)),
        )

    def config(self, patch_in_forward: bool) -> BltConfig:
        k = self.model["cross_attn_k"]
        latent = self.part("global")
        local = dict(cross_attn_k=k, hidden_size_global=latent["hidden_size"])
        patcher = dict(
            hidden_size=self.entropy.get("dim", 256),
            num_hidden_layers=self.entropy.get("n_layers", 2),
            num_attention_heads=self.entropy.get("n_heads", 4),
        )
        multiple = self.entropy.get("multiple_of", 256)
        patcher["intermediate_size"] = ffn_width(patcher["hidden_size"], multiple)
        return BltConfig(
            vocab_size=260,
            patch_in_forward=patch_in_forward,
            patch_size=self.patch_bytes,
            cross_attn_k=k,
            local_attention_window_len=self.model.get("local_attention_window_len", 512),
            max_position_embeddings=self.row_bytes + PROMPT_BYTES + NEW_BYTES + 1,
            tie_word_embeddings=False,
            encoder_hash_byte_group_size=self.model["encoder_hash_byte_group_size"],
            encoder_hash_byte_group_vocab=self.model["encoder_hash_byte_group_vocab"],
            encoder_hash_byte_group_nb_functions=self.model["encoder_hash_byte_group_nb_functions"],
            encoder_config=dict(self.part("local_encoder"), cross_attn_all_layers=False, **local),
            decoder_config=dict(self.part("local_decoder"), cross_attn_all_layers=True, **local),
            global_config=latent,
            patcher_config=dict(patcher, sliding_window=self.entropy.get("sliding_window", 512)),
        )


def ffn_width(width: int, multiple_of: int) -> int:
    hidden = 8 * width // 3
    return -(-hidden // multiple_of) * multiple_of


class Products:
    """Square matrices in one precision on one device, the second stored transposed."""

    def __init__(self, arguments, precision: str):
        self.arguments, self.precision = arguments, precision
        self.device = device_for(arguments, precision)

    def rows(self):
        kinds = {"f16": torch.float16, "bf16": torch.bfloat16}
        kind = kinds.get(self.precision, torch.float32)
        for side in SIDES[self.device.type]:
            a, b = (torch.randn(side, side, device=self.device, dtype=kind) for _ in range(2))
            count = 1
            while self.ms(a, b, count) < SAMPLE_MS:
                count *= 2
            samples = [self.ms(a, b, count) / count for _ in range(self.arguments.reps)]
            shape = f"{side} x {side} x {side} nt"
            row = empty_row(self.arguments, "gemm", "matmul", shape, self.precision, False)
            yield timed(row, samples, 2 * side**3 / 1e9, "GFLOP/s")

    def ms(self, a: torch.Tensor, b: torch.Tensor, count: int) -> float:
        wait(self.device)
        start = time.perf_counter()
        for _ in range(count):
            torch.nn.functional.linear(a, b)
        wait(self.device)
        return (time.perf_counter() - start) * 1e3


class Bench:
    """One shape in one precision on one device."""

    def __init__(self, arguments, shape: Shape, precision: str, compiled: bool):
        self.arguments, self.shape = arguments, shape
        self.precision, self.compiled = precision, compiled
        self.device = device_for(arguments, precision)
        if precision == "f16":
            raise Skipped("its f16 needs a loss scale; bf16 is as fast and needs none")
        torch.manual_seed(0)

    def autocast(self):
        enabled = self.precision == "bf16"
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled)

    def model(self, patch_in_forward: bool):
        with self.device:
            return BltForCausalLM._from_config(
                self.shape.config(patch_in_forward), attn_implementation="sdpa"
            )

    def batches(self, count: int = 4) -> list[torch.Tensor]:
        size = (self.shape.batch, self.shape.row_bytes)
        return [torch.randint(4, 260, size, device=self.device) for _ in range(count)]

    def forward(self):
        model = self.model(False).eval()
        call, lengths = self.called(model), self.lengths()
        batches = self.batches()

        def step(index: int):
            with torch.no_grad(), self.autocast():
                ids = batches[index % len(batches)]
                call(input_ids=ids, patch_lengths=lengths, use_cache=False)

        yield self.timed_row("model", step)
        yield self.memory_row("model")

    def train(self):
        model = self.model(False).train()
        call, lengths = self.called(model), self.lengths()
        batches = self.batches()
        options = dict(lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1)
        optimiser = torch.optim.AdamW(model.parameters(), fused=True, **options)

        def step(index: int):
            ids = batches[index % len(batches)]
            with self.autocast():
                loss = call(
                    input_ids=ids, patch_lengths=lengths, labels=ids, use_cache=False
                ).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

        yield self.timed_row("train", step)
        yield self.memory_row("train")

    def attention(self):
        """Attention alone, forward and backward, by every kernel that PyTorch has for it."""
        if self.device.type != "cuda":
            raise Skipped("its kernels are those of a card")
        if self.compiled:
            raise Skipped("what is compiled stands beside the rest")
        kind = TYPES[self.precision]
        for attention in Attention.of(self.shape):
            flops = attention.flops() * 1e-12
            for name, attend in attention.kernels(kind, self.device):
                times = attention.times_ms(attend, kind, self.device, self.arguments.reps)
                for kernel, factor, samples in zip(
                    ("attention", "attention_grad"), (1, 2.5), times
                ):
                    row = self.row("kernel", kernel, samples, factor * flops, "TFLOP/s")
                    yield dict(row, variant=name, shape=attention.text(self.shape.name))

    def generate(self):
        if self.compiled:
            raise Skipped("every byte has another length, which torch.compile compiles anew")
        model = self.model(True).eval()
        if self.precision == "bf16":
            model = model.to(torch.bfloat16)
        prompt = torch.randint(4, 260, (1, PROMPT_BYTES), device=self.device)

        def step(_: int):
            with torch.no_grad():
                model.generate(
                    prompt,
                    max_new_tokens=NEW_BYTES,
                    min_new_tokens=NEW_BYTES,
                    do_sample=False,
                    use_cache=False,
                )

        samples = self.samples_ms(step, warm_up=1)
        # Ours counts the bytes after the first; here the first cannot be told from the others.
        yield self.row("generate", "decode", samples, NEW_BYTES, "bytes/s")
        long = torch.randint(4, 260, (1, LONG_PROMPT_BYTES), device=self.device)

        def read(_: int):
            with torch.no_grad():
                model(input_ids=long, use_cache=False)

        name = f"prefill_{LONG_PROMPT_BYTES}"
        yield self.row("generate", name, self.samples_ms(read), LONG_PROMPT_BYTES, "bytes/s")

    def called(self, model):
        return torch.compile(model) if self.compiled else model

    def lengths(self) -> torch.Tensor:
        """[batch, patches], each row 1, then patches with sum bytes."""
        rows = static_lengths(self.shape.batch, self.shape.row_bytes - 1, self.shape.patch_bytes)
        return rows.to(self.device)

    def samples_ms(self, step, warm_up: int = WARM_UP_CALLS) -> list[float]:
        for index in range(warm_up):
            step(index)
        wait(self.device)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        found, began = [], time.perf_counter()
        while len(found) < self.arguments.reps:
            if found and time.perf_counter() - began > self.arguments.seconds:
                break
            start = time.perf_counter()
            step(len(found))
            wait(self.device)
            found.append((time.perf_counter() - start) * 1e3)
        return found

    def timed_row(self, kind: str, step) -> dict:
        work = self.shape.batch * self.shape.row_bytes
        return self.row(kind, "step", self.samples_ms(step), work, "bytes/s")

    def memory_row(self, kind: str) -> dict:
        row = self.empty_row(kind, "peak_memory")
        if self.device.type != "cuda":
            return dict(row, status="skipped", reason="PyTorch counts memory on CUDA alone")
        return dict(row, rate=float(torch.cuda.max_memory_allocated(self.device)), unit="bytes")

    def row(self, kind: str, kernel: str, samples: list[float], work: float, unit: str) -> dict:
        return timed(self.empty_row(kind, kernel), samples, work, unit)

    def empty_row(self, kind: str, kernel: str) -> dict:
        return empty_row(
            self.arguments, kind, kernel, self.shape.name, self.precision, self.compiled
        )


class Skipped(Exception):
    """It does not apply; the words say why."""


def device_for(arguments, precision: str) -> torch.device:
    device = torch.device(arguments.device)
    if precision == "tf32" and device.type != "cuda":
        raise Skipped("TF32 is a format of NVIDIA cards")
    torch.backends.cuda.matmul.allow_tf32 = precision != "f32"
    torch.backends.cudnn.allow_tf32 = precision != "f32"
    return device


def wait(device: torch.device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(row: dict, samples: list[float], work: float, unit: str) -> dict:
    median = statistics.median(samples)
    return dict(row, samples_ms=samples, median_ms=median, rate=work / median * 1e3, unit=unit)


def empty_row(arguments, kind, kernel, shape, precision, compiled) -> dict:
    driver = f"torch {torch.__version__}"
    if torch.version.cuda and arguments.device.startswith("cuda"):
        driver += f", CUDA {torch.version.cuda}"
    else:
        driver += f", {torch.get_num_threads()} threads"
    return dict(
        schema=SCHEMA,
        kind=kind,
        device=f"{device_name(arguments.device)}, PyTorch",
        backend=torch.device(arguments.device).type,
        driver=driver,
        features=[],
        commit=f"transformers {transformers.__version__}",
        kernel=kernel,
        variant="compiled" if compiled else "eager",
        shape=shape,
        # Compiled and not, so that both have a place of their own beside ours.
        precision=f"{precision} compiled" if compiled else precision,
        samples_ms=[],
        median_ms=None,
        rate=None,
        unit="",
        percent_of_peak=None,
        status="ok",
        reason="",
    )


PARTS = ("gemm", "attention", "model", "train", "generate")
STEPS = {
    "attention": Bench.attention,
    "model": Bench.forward,
    "train": Bench.train,
    "generate": Bench.generate,
}


def run(arguments, shape: Shape | None, part: str, precision: str, compiled: bool) -> bool:
    """Prints the rows of a part; what goes wrong is a row. -> whether all went well."""
    kernel = {"gemm": "matmul", "generate": "decode"}.get(part, "step")
    row = empty_row(arguments, part, kernel, shape.name if shape else "", precision, compiled)
    well = True
    try:
        if shape is None:
            rows = Products(arguments, precision).rows()
        else:
            rows = STEPS[part](Bench(arguments, shape, precision, compiled))
        for done in rows:
            print(json.dumps(done), flush=True)
    except Skipped as reason:
        print(json.dumps(dict(row, status="skipped", reason=str(reason))), flush=True)
    except Exception as error:  # out of memory, a kernel that is not there: the rest goes on
        reason = f"{type(error).__name__}: {str(error)[:300]}"
        print(json.dumps(dict(row, status="failed", reason=reason)), flush=True)
        well = False
    gc.collect()
    if arguments.device.startswith("cuda"):
        torch.cuda.empty_cache()
    return well


def parse() -> argparse.Namespace:
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}; all without one")
    flags.add_argument("--config", default="s", help="s,m,1b or paths of configurations")
    flags.add_argument("--precision", default="f32", help=",".join(PRECISIONS))
    flags.add_argument("--compile", action="store_true", help="time torch.compile as well")
    flags.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    flags.add_argument("--threads", type=int, help="default: torch's own choice")
    flags.add_argument("--reps", type=int, default=10, help="samples of everything")
    flags.add_argument("--seconds", type=float, default=10.0, help="bounds the samples in time")
    flags.add_argument("--model", help="a model directory: generation with it, and with ours in turn")
    flags.add_argument("--prompt-file", help="with --model: the text whose begin is the prompt")
    flags.add_argument("--prompt-bytes", type=int, default=500)
    flags.add_argument("--bytes", type=int, default=64, help="with --model: bytes to generate")
    flags.add_argument("--blt", default="blt", help="with --model: the program")
    flags.add_argument("--commit", default="", help="with --model: that of the program")
    arguments = flags.parse_args()
    if arguments.model and not arguments.prompt_file:
        flags.error("--model needs --prompt-file")
    for part in arguments.parts:
        if part not in PARTS:
            flags.error(f"{part}: expected one of {', '.join(PARTS)}")
    for precision in arguments.precision.split(","):
        if precision not in PRECISIONS:
            flags.error(f"{precision}: expected some of {','.join(PRECISIONS)}")
    return arguments


def main() -> int:
    arguments = parse()
    warnings.filterwarnings("ignore")
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.model:
        arguments.device = "cpu"
        return 0 if Directory(arguments).run(empty_row, timed) else 1
    well = True
    parts, precisions = arguments.parts or PARTS, arguments.precision.split(",")
    if "gemm" in parts:
        for precision in precisions:
            well &= run(arguments, None, "gemm", precision, False)
    for name in arguments.config.split(","):
        shape = Shape(name)
        for part in (part for part in parts if part in STEPS):
            for precision in precisions:
                for compiled in (False, True) if arguments.compile else (False,):
                    well &= run(arguments, shape, part, precision, compiled)
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
