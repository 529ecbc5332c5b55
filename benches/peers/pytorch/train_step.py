"""Times a training step and a forward pass of transformers' BLT, or of its entropy model alone.

    python train_step.py --config DIR --batch 8 --bytes 512 --threads 2
    python train_step.py --part entropy --config DIR --batch 16 --bytes 256 --threads 2
    python train_step.py --encoder 128,1,4,344 --latent 256,4,8,688 --decoder 128,3,4,344 \
        --hash-vocab 4096 --window 128 --batch 8 --bytes 512 --patch-bytes 4 --threads 2

A part is HIDDEN,LAYERS,HEADS,FFN. Patches are static: 1, then --patch-bytes each, the last one
shorter. A step is forward, loss, backward, clipping to norm 1, AdamW; ids are random, the same in
each step. Prints one JSON line with the medians and every sample in milliseconds.

The peer gets its best: SDPA attention, fused AdamW, no entropies computed while the entropy model
trains, no patcher inside the BLT (patches are known), `--compile` if asked for.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import torch
import transformers
from transformers import BltConfig, BltForCausalLM
from transformers.models.blt.modeling_blt import BltPatcher, create_sliding_window_causal_mask
from transformers.utils import logging as transformers_logging


class EntropyModel(torch.nn.Module):
    """The patcher as a language model: its own layers, without entropies and patch lengths."""

    def __init__(self, config):
        super().__init__()
        self.inner = BltPatcher(config)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        inner = self.inner
        x = inner.embed_tokens(ids)
        positions = torch.arange(ids.shape[1], device=ids.device)[None]
        mask = create_sliding_window_causal_mask(
            config=inner.config,
            inputs_embeds=x,
            attention_mask=None,
            past_key_values=None,
            position_ids=positions,
        )
        rotary = inner.rotary_emb(x, positions)
        for layer in inner.layers:
            x = layer(x, position_embeddings=rotary, attention_mask=mask)
        return inner.lm_head(inner.norm(x))


def part(text: str) -> dict:
    hidden, layers, heads, ffn = (int(number) for number in text.split(","))
    return dict(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=ffn,
    )


def config_of(arguments) -> BltConfig:
    if arguments.config:
        config = BltConfig.from_pretrained(arguments.config)
        config.patch_in_forward = False
        return config
    encoder, latent, decoder = map(part, (arguments.encoder, arguments.latent, arguments.decoder))
    k = arguments.k or max(1, latent["hidden_size"] // encoder["hidden_size"])
    local = dict(cross_attn_k=k, hidden_size_global=latent["hidden_size"])
    return BltConfig(
        patch_in_forward=False,
        cross_attn_k=k,
        local_attention_window_len=arguments.window,
        max_position_embeddings=arguments.bytes + 1,
        encoder_hash_byte_group_size=[int(n) for n in arguments.hash_sizes.split(",")],
        encoder_hash_byte_group_vocab=arguments.hash_vocab,
        encoder_hash_byte_group_nb_functions=arguments.hash_functions,
        encoder_config=dict(encoder, cross_attn_all_layers=False, **local),
        decoder_config=dict(decoder, cross_attn_all_layers=True, **local),
        global_config=latent,
        patcher_config=dict(part(arguments.patcher), sliding_window=arguments.window),
    )


def static_lengths(batch: int, byte_count: int, patch_bytes: int) -> torch.Tensor:
    """[batch, patches], each row 1, patch_bytes, patch_bytes, .. with sum byte_count + 1."""
    full, rest = divmod(byte_count, patch_bytes)
    row = [1] + [patch_bytes] * full + ([rest] if rest else [])
    return torch.tensor(row).repeat(batch, 1)


def build(arguments, config: BltConfig):
    """-> model, a function from nothing to the loss, a function from nothing to the logits."""
    device = arguments.device
    ids = torch.randint(4, 260, (arguments.batch, arguments.bytes), device=device)
    if arguments.part == "entropy":
        config.patcher_config._attn_implementation = arguments.attention
        model = EntropyModel(config.patcher_config).to(device)
        called = torch.compile(model) if arguments.compile else model

        def logits() -> torch.Tensor:
            return called(ids)

    else:
        model = BltForCausalLM._from_config(config, attn_implementation=arguments.attention)
        model = model.to(device)
        called = torch.compile(model) if arguments.compile else model
        lengths = static_lengths(arguments.batch, arguments.bytes, arguments.patch_bytes)
        lengths = lengths.to(device)

        def logits() -> torch.Tensor:
            return called(input_ids=ids, patch_lengths=lengths, use_cache=False).logits

    targets = ids[:, 1:].reshape(-1)

    def loss() -> torch.Tensor:
        rows = logits()[:, :-1].reshape(targets.numel(), -1).float()
        return torch.nn.functional.cross_entropy(rows, targets)

    return model, loss, logits


def samples_ms(call, arguments) -> list[float]:
    """At least three samples, then until --samples or --seconds is reached, after warming up."""

    def wait() -> None:
        if arguments.device.startswith("cuda"):
            torch.cuda.synchronize()

    for _ in range(arguments.warmup):
        call()
    wait()
    found, began = [], time.perf_counter()
    while len(found) < arguments.samples:
        if len(found) >= 3 and time.perf_counter() - began > arguments.seconds:
            break
        start = time.perf_counter()
        call()
        wait()
        found.append(round((time.perf_counter() - start) * 1e3, 4))
    return found


def measure(arguments) -> dict:
    torch.manual_seed(0)
    model, loss, logits = build(arguments, config_of(arguments))
    kind, bf16 = torch.device(arguments.device).type, arguments.precision == "bf16"
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(
        trained, lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )
    load_before = os.getloadavg()[0]

    def forward():
        with torch.no_grad(), torch.autocast(kind, dtype=torch.bfloat16, enabled=bf16):
            logits()

    def step():
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=bf16):
            value = loss()
        value.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    model.eval()
    forward_ms = samples_ms(forward, arguments)
    model.train()
    step_ms = samples_ms(step, arguments)
    tokens = arguments.batch * arguments.bytes
    return {
        "peer": "transformers",
        "part": arguments.part,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": device_name(arguments.device),
        "threads": torch.get_num_threads(),
        "load_before": load_before,
        "precision": arguments.precision,
        "attention": arguments.attention,
        "compile": arguments.compile,
        "batch": arguments.batch,
        "bytes": arguments.bytes,
        "patch_bytes": arguments.patch_bytes if arguments.part == "blt" else None,
        "parameter_count": sum(parameter.numel() for parameter in trained),
        "forward_ms": statistics.median(forward_ms),
        "step_ms": statistics.median(step_ms),
        "bytes_per_s": round(tokens / statistics.median(step_ms) * 1e3, 1),
        "forward_samples_ms": forward_ms,
        "step_samples_ms": step_ms,
        "peak_gib": peak_gib(arguments.device),
    }


def device_name(device: str) -> str:
    return torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu"


def peak_gib(device: str) -> float | None:
    if not device.startswith("cuda"):
        return None
    return round(torch.cuda.max_memory_allocated(device) / 2**30, 3)


def parse() -> argparse.Namespace:
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--part", choices=("blt", "entropy"), default="blt")
    flags.add_argument("--config", type=Path, help="a model directory; its shape, random weights")
    flags.add_argument("--encoder", default="128,1,4,344")
    flags.add_argument("--latent", default="256,4,8,688", help="the global transformer")
    flags.add_argument("--decoder", default="128,3,4,344")
    flags.add_argument("--patcher", default="96,2,4,256", help="with --part entropy")
    flags.add_argument("--k", type=int, help="default: hidden of --latent / hidden of --encoder")
    flags.add_argument("--window", type=int, default=512)
    flags.add_argument("--hash-sizes", default="3,4,5,6,7,8")
    flags.add_argument("--hash-vocab", type=int, default=4096)
    flags.add_argument("--hash-functions", type=int, default=1)
    flags.add_argument("--batch", type=int, default=8)
    flags.add_argument("--bytes", type=int, default=512, help="of one row")
    flags.add_argument("--patch-bytes", type=int, default=4)
    flags.add_argument("--threads", type=int, help="default: torch's own choice")
    flags.add_argument("--device", default="cpu", help="cpu or cuda")
    flags.add_argument("--precision", choices=("f32", "bf16"), default="f32")
    flags.add_argument("--tf32", action="store_true", help="let cuda round f32 products to TF32")
    flags.add_argument("--attention", choices=("sdpa", "eager"), default="sdpa")
    flags.add_argument("--compile", action="store_true")
    flags.add_argument("--warmup", type=int, default=3)
    flags.add_argument("--samples", type=int, default=10)
    flags.add_argument("--seconds", type=float, default=60.0, help="for each of the two series")
    return flags.parse_args()


def main() -> None:
    arguments = parse()
    transformers_logging.set_verbosity_error()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.backends.cuda.matmul.allow_tf32 = arguments.tf32
    torch.backends.cudnn.allow_tf32 = arguments.tf32
    print(json.dumps(measure(arguments)))


if __name__ == "__main__":
    main()
