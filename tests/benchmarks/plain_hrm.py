"""The specification of the HRM read literally, in plain PyTorch: the baseline that speed.py compares with.

One file that shares nothing with the package but the configuration: modules as the text names them, a second full inner
forward for the Q target, gradients by autograd, optimizers that go through the parameters one by one. Nothing is done
for speed and nothing against it. Float32 throughout.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hrm_sweep.config import ArchConfig, RunConfig

Batch = tuple[Tensor, Tensor, Tensor]  # inputs (B, S), labels (B, S), puzzle identifiers (B,)
State = tuple[Tensor, Tensor]  # z_H, z_L, each (B, T, D)


class Linear(nn.Module):
    def __init__(self, fan_in: int, fan_out: int, *, bias: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fan_out, fan_in) / math.sqrt(fan_in))
        self.bias = nn.Parameter(torch.zeros(fan_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Embedding(nn.Module):
    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.embedding_weight = nn.Parameter(torch.randn(rows, width) / math.sqrt(width))

    def forward(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.embedding_weight)


def rms_norm(x: Tensor, eps: float) -> Tensor:
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (B, T, h, d); cos and sin (T, d)."""
    first, second = x.chunk(2, dim=-1)
    return x * cos[:, None, :] + torch.cat([-second, first], dim=-1) * sin[:, None, :]


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv_proj = Linear(width, 3 * width)
        self.o_proj = Linear(width, width)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor] | None) -> Tensor:
        B, T, D = x.shape
        q, k, v = self.qkv_proj(x).view(B, T, 3, self.heads, D // self.heads).unbind(dim=2)  # each (B, T, h, d)
        if rope is not None:
            q, k = rotate(q, *rope), rotate(k, *rope)
        mixed = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return self.o_proj(mixed.transpose(1, 2).reshape(B, T, D))


class SwiGLU(nn.Module):
    def __init__(self, width: int, expansion: float) -> None:
        super().__init__()
        inner = math.ceil(round(expansion * width * 2 / 3) / 256) * 256
        self.gate_up_proj = Linear(width, 2 * inner)
        self.down_proj = Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(F.silu(gate) * up)


class Block(nn.Module):
    def __init__(self, arch: ArchConfig) -> None:
        super().__init__()
        self.self_attn = Attention(arch.hidden_size, arch.num_heads)
        self.mlp = SwiGLU(arch.hidden_size, arch.expansion)
        self.eps = arch.rms_norm_eps

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor] | None) -> Tensor:
        x = rms_norm(x + self.self_attn(x, rope), self.eps)
        return rms_norm(x + self.mlp(x), self.eps)


class ReasoningModule(nn.Module):
    def __init__(self, arch: ArchConfig, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Block(arch) for _ in range(layers)])

    def forward(self, z: Tensor, injection: Tensor, rope: tuple[Tensor, Tensor] | None) -> Tensor:
        z = z + injection
        for layer in self.layers:
            z = layer(z, rope)
        return z


class PuzzleEmbedding(nn.Module):
    weights: Tensor

    def __init__(self, identifiers: int, ndim: int) -> None:
        super().__init__()
        self.register_buffer("weights", torch.zeros(identifiers, ndim))


class Inner(nn.Module):
    H_init: Tensor
    L_init: Tensor

    def __init__(self, arch: ArchConfig, vocab_size: int, seq_len: int, identifiers: int) -> None:
        super().__init__()
        D = arch.hidden_size
        self.arch = arch
        self.slots = math.ceil(arch.puzzle_emb_ndim / D)
        self.positions = self.slots + seq_len
        self.embed_tokens = Embedding(vocab_size, D)
        if arch.puzzle_emb_ndim > 0:
            self.puzzle_emb = PuzzleEmbedding(identifiers, arch.puzzle_emb_ndim)
        self.rope: tuple[Tensor, Tensor] | None = None
        if arch.pos_encodings == "learned":
            self.embed_pos = Embedding(self.positions, D)
        else:
            head_dim = D // arch.num_heads
            frequencies = arch.rope_theta ** (-torch.arange(0, head_dim, 2).float() / head_dim)
            angles = torch.outer(torch.arange(self.positions).float(), frequencies).repeat(1, 2)
            self.rope = (angles.cos(), angles.sin())
        self.H_level = ReasoningModule(arch, arch.H_layers)
        self.L_level = ReasoningModule(arch, arch.L_layers)
        self.register_buffer("H_init", torch.randn(D))
        self.register_buffer("L_init", torch.randn(D))
        self.lm_head = Linear(D, vocab_size)
        self.q_head = Linear(D, 2, bias=True)

    def embed(self, inputs: Tensor, puzzle_rows: Tensor | None) -> Tensor:
        D = self.arch.hidden_size
        embedding = self.embed_tokens(inputs)
        if puzzle_rows is not None:
            padded = F.pad(puzzle_rows, (0, self.slots * D - puzzle_rows.shape[-1]))
            embedding = torch.cat([padded.view(-1, self.slots, D), embedding], dim=1)
        if self.arch.pos_encodings == "learned":
            embedding = (embedding + self.embed_pos.embedding_weight) / math.sqrt(2)
        return math.sqrt(D) * embedding

    def forward(
        self, state: State, inputs: Tensor, puzzle_rows: Tensor | None
    ) -> tuple[State, Tensor, tuple[Tensor, Tensor]]:
        """The new carry, detached; logits (B, S, V); (q_halt, q_continue), each (B,)."""
        arch = self.arch
        x = self.embed(inputs, puzzle_rows)
        with torch.no_grad():
            z_H, z_L = state
            for h in range(arch.H_cycles):
                for l in range(arch.L_cycles):  # noqa: E741 - the paper's letter
                    if not (h == arch.H_cycles - 1 and l == arch.L_cycles - 1):
                        z_L = self.L_level(z_L, z_H + x, self.rope)
                if h != arch.H_cycles - 1:
                    z_H = self.H_level(z_H, z_L, self.rope)
        z_L = self.L_level(z_L, z_H + x, self.rope)
        z_H = self.H_level(z_H, z_L, self.rope)
        logits = self.lm_head(z_H)[:, self.slots :]
        q = self.q_head(z_H[:, 0])
        return (z_H.detach(), z_L.detach()), logits, (q[:, 0], q[:, 1])


def token_loss(logits: Tensor, labels: Tensor, loss_type: str) -> Tensor:
    """(B, S); 0 where the label is -100."""
    if loss_type == "softmax_cross_entropy":
        return F.cross_entropy(logits.transpose(1, 2), labels, ignore_index=-100, reduction="none")
    x = logits.double()
    s = torch.where(x >= 0, x + 1, 1 / (1 - x))
    log_probabilities = torch.log(s / s.sum(dim=-1, keepdim=True))
    counted = labels != -100
    chosen = log_probabilities.gather(-1, torch.where(counted, labels, 0).unsqueeze(-1)).squeeze(-1)
    return torch.where(counted, -chosen, 0.0)


class PlainHRM(nn.Module):
    """The model, its two optimizers and the carry. State-dict names are those of the specification."""

    def __init__(self, config: RunConfig, vocab_size: int, seq_len: int, identifiers: int) -> None:
        super().__init__()
        self.config = config
        self.inner = Inner(config.arch, vocab_size, seq_len, identifiers)
        self.carry: tuple[State, Tensor, Tensor, Batch] | None = None
        self.metrics: dict[str, Tensor] = {}
        self.t = 0
        self.first_moments = [torch.zeros_like(p) for p in self.parameters()]
        self.second_moments = [torch.zeros_like(p) for p in self.parameters()]

    def train_step(self, batch: Batch, lr: float, puzzle_emb_lr: float) -> Tensor:
        """One ACT step with backward and both optimizers; the loss summed over the batch."""
        loss, leaf = self.loss(batch)
        for parameter in self.parameters():
            parameter.grad = None
        (loss / len(batch[0])).backward()
        self.adam_atan2(lr)
        if leaf is not None:
            self.sign_sgd(leaf, puzzle_emb_lr)
        return loss.detach()

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        inner, arch = self.inner, self.config.arch
        B, M = len(batch[0]), arch.halt_max_steps
        if self.carry is None:
            empty = torch.zeros(B, inner.positions, arch.hidden_size)
            self.carry = ((empty, empty), torch.zeros(B, dtype=torch.long), torch.ones(B, dtype=torch.bool), batch)
        (z_H, z_L), steps, halted, current = self.carry

        z_H = torch.where(halted[:, None, None], inner.H_init, z_H)
        z_L = torch.where(halted[:, None, None], inner.L_init, z_L)
        steps = torch.where(halted, 0, steps)
        inputs = torch.where(halted[:, None], batch[0], current[0])
        labels = torch.where(halted[:, None], batch[1], current[1])
        identifiers = torch.where(halted, batch[2], current[2])
        leaf: Tensor | None = None
        if arch.puzzle_emb_ndim > 0:
            leaf = inner.puzzle_emb.weights[identifiers].clone().requires_grad_()

        state, logits, (q_halt, q_continue) = inner((z_H, z_L), inputs, leaf)
        steps = steps + 1
        last = steps >= M
        halted = last
        target: Tensor | None = None
        if M > 1:
            with torch.no_grad():
                halted = halted | (q_halt > q_continue)
                explores = torch.rand(B) < arch.halt_exploration_prob
                minimum = torch.where(explores, torch.randint(2, M + 1, (B,)), 0)
                halted = halted & (steps >= minimum)
                _, _, (next_halt, next_continue) = inner(state, inputs, leaf)
                target = torch.sigmoid(torch.where(last, next_halt, torch.maximum(next_halt, next_continue)))
        self.carry = (state, steps, halted, (inputs, labels, identifiers))

        counted = labels != -100
        n = counted.sum(dim=-1)
        lm_loss = (token_loss(logits, labels, arch.loss.loss_type).sum(dim=-1) / n.clamp(min=1)).sum()
        correct = ((logits.argmax(dim=-1) == labels) | ~counted).all(dim=-1)
        total = lm_loss + 0.5 * F.binary_cross_entropy_with_logits(q_halt, correct.float(), reduction="sum")
        if target is not None:
            total = total + 0.5 * F.binary_cross_entropy_with_logits(q_continue, target, reduction="sum")

        valid = halted & (n > 0)
        right = ((logits.argmax(dim=-1) == labels) & counted).sum(dim=-1)
        self.metrics = {
            "count": valid.sum(),
            "accuracy": torch.where(valid, right / n.clamp(min=1), 0.0).sum(),
            "exact_accuracy": (valid & correct).sum(),
            "q_halt_accuracy": (valid & ((q_halt >= 0) == correct)).sum(),
            "steps": torch.where(valid, steps, 0).sum(),
        }
        return total, leaf

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """M ACT steps from a fresh state: logits (B, S, V) and q_halt (B,) of the last one."""
        inner, B = self.inner, len(batch[0])
        rows = inner.puzzle_emb.weights[batch[2]] if self.config.arch.puzzle_emb_ndim > 0 else None
        state = (inner.H_init.expand(B, inner.positions, -1), inner.L_init.expand(B, inner.positions, -1))
        for _ in range(self.config.arch.halt_max_steps):
            state, logits, (q_halt, _) = inner(state, batch[0], rows)
        return logits, q_halt

    @torch.no_grad()
    def adam_atan2(self, lr: float) -> None:
        beta1, beta2 = self.config.beta1, self.config.beta2
        self.t += 1
        for p, m, v in zip(self.parameters(), self.first_moments, self.second_moments, strict=True):
            gradient = p.grad if p.grad is not None else torch.zeros_like(p)
            p.mul_(1 - lr * self.config.weight_decay)
            m.mul_(beta1).add_(gradient, alpha=1 - beta1)
            v.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            p.sub_(lr / (1 - beta1**self.t) * torch.atan2(m, (v / (1 - beta2**self.t)).sqrt()))

    @torch.no_grad()
    def sign_sgd(self, leaf: Tensor, lr: float) -> None:
        assert self.carry is not None
        assert leaf.grad is not None
        table = self.inner.puzzle_emb.weights
        rows, position = self.carry[3][2].unique(return_inverse=True)
        gradient = torch.zeros(len(rows), leaf.shape[-1]).index_add_(0, position, leaf.grad)
        table[rows] = table[rows] * (1 - lr * self.config.puzzle_emb_weight_decay) - lr * gradient.sign()
