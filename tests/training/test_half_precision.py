"""Weights of 16 bits move as their 32-bit copies do, alike in all processes."""

from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn

from training.half_precision import Optimizer


def a_module() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(2, 2))


def learn(module: nn.Module, optimizer: Optimizer, x: Tensor, steps: int = 1) -> None:
    for _ in range(steps):
        torch.autograd.backward(module(x.bfloat16()).square().sum())
        optimizer.step(1.0)


def test_small_steps_add_up() -> None:
    """Each is too small for bfloat16."""
    module = a_module()
    optimizer = Optimizer(module, lambda _: 1e-5)
    before = {name: weight.clone() for name, weight in module.named_parameters()}
    x = torch.randn(8, 4)
    learn(module, optimizer, x)
    once = sum(not torch.equal(weight, before[name]) for name, weight in module.named_parameters())
    learn(module, optimizer, x, 300)
    assert once < len(before)
    assert all(not torch.equal(weight, before[name]) for name, weight in module.named_parameters())
    assert all(torch.equal(weight, optimizer.weights[name].bfloat16()) for name, weight in module.named_parameters())


def test_a_module_can_stay_in_32_bits() -> None:
    module, x = a_module(), torch.randn(8, 4)
    optimizer = Optimizer(module, lambda _: 1e-2, dtype=torch.float32)
    torch.autograd.backward(module(x).square().sum())
    optimizer.step(1.0)
    assert all(torch.equal(weight, optimizer.weights[name]) for name, weight in module.named_parameters())
    assert all(weight.dtype == torch.float32 for weight in module.parameters())


def test_each_weight_has_its_own_rate() -> None:
    module = a_module()
    optimizer = Optimizer(module, lambda name: 0.1 if name.startswith("1.") else 0.0)
    before = {name: weight.clone() for name, weight in optimizer.weights.items()}
    learn(module, optimizer, torch.randn(8, 4))
    moved = {name for name, weight in optimizer.weights.items() if not torch.equal(weight, before[name])}
    assert moved == {"1.weight", "1.bias"}


def test_a_weight_without_a_gradient_stays() -> None:
    module = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    optimizer = Optimizer(module, lambda _: 0.1)
    before = optimizer.weights["1.weight"].clone()
    learn(module[0], optimizer, torch.randn(3, 2))
    assert torch.equal(optimizer.weights["1.weight"], before)


def test_what_is_held_moves_by_its_share() -> None:
    x, moved = torch.randn(8, 4), {}
    for share in (0.0, 0.25, 1.0):
        module = a_module()
        mask = torch.ones(3, 4)
        mask[0] = 0
        optimizer = Optimizer(module, lambda _: 1e-2, held={"0.weight": mask}, share=share)
        before = optimizer.weights["0.weight"].clone()
        learn(module, optimizer, x)
        moved[share] = optimizer.weights["0.weight"] - before
    assert (moved[0.0][1:] == 0).all()
    assert (moved[0.0][0] == moved[1.0][0]).all()
    torch.testing.assert_close(moved[0.25][1:], moved[1.0][1:] / 4)


def test_it_goes_on_from_a_state() -> None:
    x = torch.randn(8, 4)
    whole = a_module()
    learn(whole, Optimizer(whole, lambda _: 1e-2), x, 4)
    first = a_module()
    stopped = Optimizer(first, lambda _: 1e-2)
    learn(first, stopped, x, 2)
    second = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2), nn.Linear(2, 2))
    again = Optimizer(second, lambda _: 1e-2)
    again.load(stopped.state())
    learn(second, again, x, 2)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def _one_of_two(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    module = a_module()
    learn(module, Optimizer(module, lambda _: 1e-2), torch.full((4, 4), float(rank + 1)), 3)
    torch.save(module.state_dict(), folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_that_learn_different_things_have_the_same_weights(tmp_path: Path) -> None:
    spawn(_one_of_two, (tmp_path,), nprocs=2)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
    one, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    alone = a_module()
    learn(alone, Optimizer(alone, lambda _: 1e-2), torch.ones(4, 4), 3)
    assert any(not torch.equal(one[name], weight) for name, weight in alone.state_dict().items())
