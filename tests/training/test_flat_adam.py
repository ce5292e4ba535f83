"""FlatAdam against torch's Adam on each parameter, and each member, alone."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import sk_infovae._training.flat_adam as flat_adam_module
from sk_infovae._training.flat_adam import FlatAdam, thin_out

SHAPES = [(3, 4), (4,), (1,)]


def stack(*leading, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(*leading, *s, generator=generator)) for s in SHAPES]


def copies(parameters):
    return [nn.Parameter(p.detach().clone()) for p in parameters]


def give_gradients(parameters, others, generator):
    """Of sizes from 1e-9 (below Adam's epsilon) to 1e3, the same for both."""
    for p, q in zip(parameters, others, strict=True):
        size = 10 ** torch.empty(p.shape).uniform_(-9, 3, generator=generator)
        p.grad = size * torch.randn(p.shape, generator=generator)
        q.grad = p.grad.clone()


def walk(optimizer, plain, n=5, seed=1):
    """Steps of both; `plain` is torch's Adam."""
    generator = torch.Generator().manual_seed(seed)
    theirs = [p for group in plain.param_groups for p in group["params"]]
    for _ in range(n):
        optimizer.zero_grad()
        give_gradients(optimizer.parameters, theirs, generator)
        optimizer.step()
        plain.step()
    return theirs


def assert_equal(parameters, others):
    for p, q in zip(parameters, others, strict=True):
        assert torch.equal(p, q)


OPTIONS = [{}, {"weight_decay": 0.1}, {"betas": (0.5, 0.9), "eps": 1e-3}, {"maximize": True}]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kernel", [True, False], ids=["kernel", "public"])
def test_it_is_torchs_adam_bit_for_bit(options, kernel, monkeypatch):
    """By the kernel that torch keeps to itself, and where there is none."""
    assert flat_adam_module.FUSED is not None, "torch has renamed it: steps take longer now"
    if not kernel:
        monkeypatch.setattr(flat_adam_module, "FUSED", None)
    optimizer = FlatAdam(stack(), lr=1e-2, **options)
    plain = torch.optim.Adam(copies(optimizer.parameters), lr=1e-2, fused=True, **options)
    assert_equal(optimizer.parameters, walk(optimizer, plain))


def test_gradients_may_be_written_into_their_places():
    optimizer = FlatAdam(stack(), lr=1e-2)
    plain = torch.optim.Adam(copies(optimizer.parameters), lr=1e-2, fused=True)
    for p, q in zip(optimizer.parameters, plain.param_groups[0]["params"], strict=True):
        p.grad, q.grad = optimizer.gradients[p].fill_(0.3), torch.full_like(q, 0.3)
    optimizer.step()
    plain.step()
    assert_equal(optimizer.parameters, plain.param_groups[0]["params"])


def test_no_gradient_is_a_gradient_of_0():
    """Also after one, from whose moments it goes on."""
    optimizer = FlatAdam(stack(), lr=1e-2)
    plain = torch.optim.Adam(copies(optimizer.parameters), lr=1e-2, fused=True)
    theirs = walk(optimizer, plain)
    optimizer.zero_grad()
    plain.zero_grad(set_to_none=False)
    optimizer.parameters[0].grad, theirs[0].grad = torch.ones(3, 4), torch.ones(3, 4)
    optimizer.step()
    plain.step()
    assert_equal(optimizer.parameters, theirs)


def test_a_backward_pass_after_zero_grad_starts_from_0():
    optimizer = FlatAdam(stack(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        sum(p.sum() for p in optimizer.parameters).backward()
        optimizer.step()
        assert all((place == 1).all() for place in optimizer.gradients.values())


def test_a_schedule_moves_the_rate():
    optimizer = FlatAdam(stack(), lr=1e-2)
    plain = torch.optim.Adam(copies(optimizer.parameters), lr=1e-2, fused=True)
    schedules = [torch.optim.lr_scheduler.ExponentialLR(o, 0.5) for o in (optimizer, plain)]
    for seed in range(3):
        theirs = walk(optimizer, plain, seed=seed)
        for schedule in schedules:
            schedule.step()
    assert_equal(optimizer.parameters, theirs)


def test_state_goes_into_another_optimizer():
    first = FlatAdam(stack(), lr=1e-2)
    plain = torch.optim.Adam(copies(first.parameters), lr=1e-2, fused=True)
    walk(first, plain)
    second = FlatAdam(copies(first.parameters), lr=1e-2)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert_equal(second.parameters, walk(second, plain, seed=2))


def test_parameters_that_got_memory_of_their_own_are_taken_in_again():
    optimizer = FlatAdam(stack(), lr=1e-2)
    plain = torch.optim.Adam(copies(optimizer.parameters), lr=1e-2, fused=True)
    walk(optimizer, plain)
    optimizer.release()
    assert optimizer.parameters[0].untyped_storage().nbytes() == 4 * 12
    theirs = walk(optimizer, plain, seed=2)
    for p, q in zip(optimizer.parameters, theirs, strict=True):
        p.data = torch.ones_like(p)
        q.data.fill_(1)
    assert_equal(optimizer.parameters, walk(optimizer, plain, seed=3))
    assert optimizer.parameters[1].data_ptr() - optimizer.parameters[0].data_ptr() == 4 * 12


def test_a_copy_goes_on_by_itself():
    """Of optimizer and parameters together, by copying, pickling or torch.save."""
    for way in (copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o)), saved_and_loaded):
        optimizer = FlatAdam(stack(), lr=1e-2)
        plain = torch.optim.Adam(copies(optimizer.parameters), lr=1e-2, fused=True)
        walk(optimizer, plain)
        held = {"parameters": optimizer.parameters, "optimizer": optimizer}
        twin = way(held)
        assert twin["optimizer"].parameters[0] is twin["parameters"][0]
        kept = copies(optimizer.parameters)
        assert_equal(twin["parameters"], walk(twin["optimizer"], plain, seed=2))
        assert_equal(optimizer.parameters, kept)


def saved_and_loaded(held):
    buffer = io.BytesIO()
    torch.save(held, buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=False)


def test_a_copied_module_holds_its_own_parameters_only():
    module = nn.Sequential(nn.Linear(3, 4), nn.Linear(400, 400))
    optimizer = FlatAdam(module.parameters())
    assert module[0].bias.untyped_storage().nbytes() > 600_000
    bias = copy.deepcopy(module)[0].bias
    assert bias.untyped_storage().nbytes() == 16
    assert len(pickle.dumps(bias)) < 2000
    optimizer.release()
    assert len(pickle.dumps(module[0])) < 4000
    assert len(pickle.dumps(module)) < 700_000


def test_hooks_are_called_once():
    """torch's wrapper, which calls them, stands aside only where there are none."""
    torch.optim.Adam(stack())  # wraps Adam's own step, whichever test comes first
    optimizer = FlatAdam(stack(), lr=1e-2)
    assert not hasattr(FlatAdam.step, "__wrapped__"), "torch wraps it again: steps take longer now"
    calls = []
    optimizer.register_step_pre_hook(lambda *_: calls.append("before"))
    optimizer.register_step_post_hook(lambda *_: calls.append("after"))
    assert optimizer.step(lambda: 3.0) == 3.0
    assert calls == ["before", "after"]


@pytest.mark.parametrize("options", [*OPTIONS, {"weight_decay": 0.1, "maximize": True}])
@pytest.mark.parametrize("rates", [[1e-1, 10.0, 3.0, 1e3], [5.0] * 4], ids=["own", "one"])
def test_each_member_moves_as_it_would_alone(rates, options):
    """Under a schedule, and when members leave; bit for bit where all rates are one."""
    optimizer = FlatAdam(stack(4), lr=1e-3, rates=rates, **options)
    members = [
        [nn.Parameter(p.detach()[k].clone()) for p in optimizer.parameters] for k in range(4)
    ]
    plain = [torch.optim.Adam(own, fused=True, **options) for own in members]
    # Decay of what is maximised the kernel itself rounds by where a number stands in a tensor.
    rounds = len(set(rates)) > 1 or {"weight_decay", "maximize"} <= options.keys()
    exact = {"rtol": 1e-5, "atol": 1e-6} if rounds else {"rtol": 0.0, "atol": 0.0}
    generator = torch.Generator().manual_seed(1)
    for part, chosen in [(1.0, [0, 1, 2, 3]), (0.7, [0, 2, 3]), (0.2, [0, 2]), (1.0, [1])]:
        if len(chosen) < len(members):
            thin_out(optimizer, optimizer.parameters, chosen)
            members, plain = ([one[k] for k in chosen] for one in (members, plain))
            rates = [rates[k] for k in chosen]
        optimizer.param_groups[0]["lr"] = 1e-3 * part
        for one, rate in zip(plain, rates, strict=True):
            one.param_groups[0]["lr"] = 1e-3 * part * rate
        for _ in range(5):
            optimizer.zero_grad()
            give_gradients(optimizer.parameters, copies(optimizer.parameters), generator)
            for j, p in enumerate(optimizer.parameters):
                for k, own in enumerate(members):
                    own[j].grad = p.grad[k].clone()
            for one in (optimizer, *plain):
                one.step()
        for k, own in enumerate(members):
            for p, expected in zip(optimizer.parameters, own, strict=True):
                torch.testing.assert_close(p[k], expected, **exact)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("rates", [None, [1.0, 0.5]])
def test_a_parameter_may_take_a_share_of_the_rate(rates, options):
    parameters, shares = stack() if rates is None else stack(2), [0.1, 1.0, 1.0]
    optimizer = FlatAdam(parameters, lr=1e-2, rates=rates, shares=shares, **options)
    for k, rate in enumerate(rates or [1.0]):
        own = [p if rates is None else p[k] for p in parameters]
        theirs = copies(own)
        groups = [
            {"params": [p], "lr": 1e-2 * rate * share}
            for p, share in zip(theirs, shares, strict=True)
        ]
        plain = torch.optim.Adam(groups, fused=True, **options)
        twin = copy.deepcopy(optimizer)
        for _ in range(3):
            twin.zero_grad()
            for j, p in enumerate(twin.parameters):
                p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(j))
                theirs[j].grad = (p.grad if rates is None else p.grad[k]).clone()
            twin.step()
            plain.step()
        for p, expected in zip(twin.parameters, theirs, strict=True):
            found = p if rates is None else p[k]
            torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW, torch.optim.RMSprop])
def test_other_optimizers_go_on_with_some_members_too(kind):
    """As they would have gone on with these from the start."""
    options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    whole = stack(3)
    some = [nn.Parameter(p.detach()[[0, 2]].clone()) for p in whole]
    optimizers = [kind(parameters, lr=1e-2, **options) for parameters in (whole, some)]
    generator = torch.Generator().manual_seed(1)
    for step in range(4):
        if step == 2:
            thin_out(optimizers[0], whole, [0, 2])
        for p, q in zip(whole, some, strict=True):
            p.grad = torch.randn(p.shape, generator=generator)
            q.grad = p.grad[[0, 2]].clone() if step < 2 else p.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for p, q in zip(whole, some, strict=True):
        torch.testing.assert_close(p.detach(), q.detach())


def test_moments_go_over_by_parameter():
    """One without any begins anew; the others step as they would have."""
    one, other = FlatAdam(stack(2), lr=1e-2), FlatAdam(stack(2), lr=1e-2)
    assert one.moments() == {}
    generator = torch.Generator().manual_seed(0)
    give_gradients(one.parameters, copies(one.parameters), generator)
    one.step()
    moments = {k: {n: v.clone() for n, v in m.items()} for k, m in one.moments().items()}
    assert set(moments) == set(range(len(one.parameters)))
    other.load_moments({k: m for k, m in moments.items() if k})
    found = other.moments()
    assert not found[0]["exp_avg"].any()
    for k in list(moments)[1:]:
        assert moments[k]["exp_avg"].shape == one.parameters[k].shape
        assert moments[k].keys() == found[k].keys()
        assert all(torch.equal(found[k][n], moments[k][n]) for n in moments[k])
        assert moments[k]["exp_avg"].any()
