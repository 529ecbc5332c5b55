"""PyTorch's attention at the shapes of a configuration: `bench.py attention`.

Bytes of encoder and decoder see a window, patches all before them. A window is what
scaled_dot_product_attention takes as a mask and flex_attention, compiled, as a block mask that
leaves out what nobody sees; without a window the flash kernel is the fastest. Forward without
gradients, then the backward pass alone.
"""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

TYPES = {"f32": torch.float32, "tf32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class Attention:
    """Causal attention of [batch, heads, length, width], perhaps within a window."""

    def __init__(self, name: str, size: tuple[int, int, int, int], window: int | None):
        self.name, self.size, self.window = name, size, window

    @staticmethod
    def of(shape) -> list["Attention"]:
        """Those of bytes and of patches of a shape of bench.py."""
        encoder, latent = shape.part("local_encoder"), shape.part("global")
        patches = 1 + (shape.row_bytes - 1) // shape.patch_bytes
        rows = [
            ("bytes", encoder, shape.row_bytes, shape.model["local_attention_window_len"]),
            ("patches", latent, patches, None),
        ]
        heads = lambda part: part["num_attention_heads"]
        width = lambda part: part["hidden_size"] // heads(part)
        return [
            Attention(name, (shape.batch, heads(part), length, width(part)), window)
            for name, part, length, window in rows
        ]

    def text(self, shape_name: str) -> str:
        batch, heads, length, width = self.size
        seen = "causal" if self.window is None else f"window {self.window}"
        return f"{shape_name} {self.name}: {batch} x {length}, {heads} heads of {width}, {seen}"

    def flops(self) -> float:
        """Of the forward pass, of what is seen; the backward pass has two and a half times it."""
        batch, heads, length, width = self.size
        window = self.window or length
        return 4 * batch * heads * width * sum(min(i + 1, window) for i in range(length))

    def kernels(self, kind: torch.dtype, device: torch.device):
        """(name, attention of q, k, v) of everything that can compute it."""
        batch, heads, length, width = self.size
        if self.window is None:
            is_half = kind.itemsize == 2
            backend = SDPBackend.FLASH_ATTENTION if is_half else SDPBackend.EFFICIENT_ATTENTION

            def causal(q, k, v):
                with sdpa_kernel(backend):
                    return scaled_dot_product_attention(q, k, v, is_causal=True)

            yield backend.name.lower(), causal
            return
        at = torch.arange(length, device=device)
        distance = at[:, None] - at[None, :]
        mask = (distance >= 0) & (distance < self.window)
        yield "sdpa with a mask", lambda q, k, v: scaled_dot_product_attention(q, k, v, mask)
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        # A backward pass is run several times, and each length is compiled anew.
        torch._functorch.config.donated_buffer = False
        torch._dynamo.reset()
        flex, window = torch.compile(flex_attention), self.window
        seen = lambda b, h, i, j: (i >= j) & (i - j < window)
        blocks = create_block_mask(seen, None, None, length, length, device=device)
        yield "flex, compiled", lambda q, k, v: flex(q, k, v, block_mask=blocks)

    def times_ms(self, attend, kind: torch.dtype, device: torch.device, sample_count: int):
        """Samples of the forward pass and of the backward pass."""
        q, k, v = (
            torch.randn(self.size, device=device, dtype=kind, requires_grad=True) for _ in range(3)
        )
        gradient = torch.randn(self.size, device=device, dtype=kind)
        with torch.no_grad():
            forward = samples_ms(lambda: attend(q, k, v), sample_count)
        out = attend(q, k, v)
        backward = lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True)
        return forward, samples_ms(backward, sample_count)


def samples_ms(call, count: int, calls: int = 20) -> list[float]:
    """Milliseconds of a call, each sample the mean of several in a row."""
    for _ in range(5):
        call()
    samples = []
    for _ in range(count):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(calls):
            call()
        end.record()
        torch.cuda.synchronize()
        samples.append(begin.elapsed_time(end) / calls)
    return samples
