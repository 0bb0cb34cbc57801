"""Learning in 16 bits (Micikevicius et al. 2018): where it is faster, and AdamW for it, in one process or several."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

_MOST = 1.0  # the norm of all gradients together


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies in bfloat16 by instructions of its own."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


class Optimizer:
    """Moves 32-bit copies of a module's weights, which are of another type from here on, by gradients that are the mean
    over the processes."""

    def __init__(
        self,
        module: nn.Module,
        rate: Callable[[str], float],
        held: Mapping[str, Tensor] | None = None,
        share: float = 0.0,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        """rate: of a weight, by its name. held: by names, 1 for elements that move by `share` of that alone, else 0.
        dtype: of the module's weights, from here on."""
        self.weights = {name: weight.detach().float().clone() for name, weight in module.named_parameters()}
        module.to(dtype)
        self._moved = dict(module.named_parameters())
        self._held = {name: mask * (1 - share) for name, mask in (held or {}).items()}
        self._rates = [rate(name) for name in self.weights]
        groups = [{"params": [weight]} for weight in self.weights.values()]
        self._adam = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01, fused=True)

    def step(self, pace: float) -> None:
        """pace: the share of their rates that the weights move by. Takes the module's gradients away."""
        gradients = _mean({name: weight.grad for name, weight in self._moved.items() if weight.grad is not None})
        for name, weight in self.weights.items():
            weight.grad = gradients.get(name)
        for group, rate in zip(self._adam.param_groups, self._rates, strict=True):
            group["lr"] = rate * pace
        nn.utils.clip_grad_norm_(self.weights.values(), _MOST)
        before = {name: self.weights[name].clone() for name in self._held}
        self._adam.step()
        with torch.no_grad():
            for name, mask in self._held.items():
                self.weights[name].lerp_(before[name], mask)
        self._write()

    def state(self) -> dict[str, Any]:
        return {"weights": self.weights, "adam": self._adam.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """state: from `state`, of a module with the same weights."""
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(state["weights"][name])
        self._adam.load_state_dict(state["adam"])
        self._write()

    def _write(self) -> None:
        with torch.no_grad():
            for name, weight in self._moved.items():
                weight.copy_(self.weights[name])
                weight.grad = None


def _mean(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """Over the processes, in 32 bits. All have gradients of the same weights."""
    if dist.is_initialized():
        flat = torch.cat([gradient.flatten() for gradient in gradients.values()])
        dist.all_reduce(flat)
        sizes = [gradient.numel() for gradient in gradients.values()]
        parts = torch.split(flat.float() / dist.get_world_size(), sizes)
        return {name: part.view_as(gradients[name]) for name, part in zip(gradients, parts, strict=True)}
    return {name: gradient.float() for name, gradient in gradients.items()}
