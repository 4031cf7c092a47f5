"""Every operation against finite differences and, where PyTorch is installed, against PyTorch."""

import numpy as np
import pytest

from nspike import autograd as ag
from nspike.autograd import Tensor, check_gradients, gating, operation
from nspike.errors import DifferenceError

draw = np.random.default_rng(0)
A, B = draw.normal(size=(2, 3, 4, 5)), draw.normal(size=(2, 3, 4, 5))
ROW = draw.normal(size=(3, 1, 1))
POSITIVE = np.abs(A) + 0.5
IMAGE = draw.normal(size=(2, 4, 7, 6))


CASES = {
    "add": (lambda a, b: a + b, A, B),
    "add_broadcast": (ag.add, A, ROW),
    "subtract": (lambda a, b: a - b, A, ROW),
    "subtract_from_number": (lambda a: 2.0 - a, A),
    "multiply": (lambda a, b: a * b, A, ROW),
    "multiply_by_itself": (lambda a: a * a, A),
    "divide": (lambda a, b: a / b, A, POSITIVE),
    "negative": (lambda a: -a, A),
    "absolute": (lambda a: a.abs(), A),
    "square": (lambda a: a.square(), A),
    "square_root": (lambda a: a.sqrt(), POSITIVE),
    "sum": (lambda a: a.sum(), A),
    "sum_over_axes": (lambda a: a.sum(axis=(0, 2)), A),
    "mean": (lambda a: a.mean(), A),
    "mean_over_an_axis": (lambda a: a.mean(axis=1), A),
    "euclidean_norm": (lambda a: a.square().sum().sqrt(), A),
    "reshape": (lambda a: a.reshape(6, -1), A),
    "slice": (lambda a: a[:, 1:, ::2], A),
    "take_twice": (lambda a: a[np.array([0, 0, 1])], A),
    "concatenate": (lambda a, b: ag.concatenate([a, b, a]), A, B[:, :2]),
    "relu": (ag.relu, A),
    "clipped_relu": (lambda a, top: ag.clipped_relu(a, top), A, np.abs(ROW) + 0.2),
    "sigmoid": (ag.sigmoid, 3 * A),
    "pixel_shuffle": (lambda a: ag.pixel_shuffle(a, factor=2), IMAGE),
    "pixel_unshuffle": (lambda a: ag.pixel_unshuffle(a, factor=2), IMAGE[:, :, :6]),
    "interpolate": (lambda a: ag.interpolate(a, factor=2), IMAGE),
    "interpolate_thrice": (lambda a: ag.interpolate(a, factor=3), IMAGE[:, :, :1]),
    "channel_shuffle": (lambda a: ag.channel_shuffle(a, groups=2), IMAGE),
    "channels": (lambda a: ag.channels(a, first=1, count=2), IMAGE),
    "nearest": (lambda a: ag.nearest(a, factor=3), IMAGE),
    "average_pool": (lambda a: ag.average_pool(a, size=2), IMAGE[:, :, :6]),
    "max_pool": (lambda a: ag.max_pool(a, size=2), IMAGE[:, :, :6]),
    "signed_clip": (lambda a, top: ag.signed_clip(a, top), A, np.abs(ROW) + 0.2),
    "leaky_relu": (lambda a: ag.leaky_relu(a, slope=0.2), A),
    "prelu": (ag.prelu, A, ROW),
    "tanh": (ag.tanh, A),
    "gelu": (ag.gelu, A),
    "silu": (ag.silu, A),
    "hard_sigmoid": (ag.hard_sigmoid, 3 * A),
    "hard_swish": (ag.hard_swish, 3 * A),
    "layer_norm": (lambda a, w, b: ag.layer_norm(a, w, b, 1e-5), A, ROW[:, 0, 0], ROW[:, 0, 0] + 1),
    "layer_norm_no_bias": (lambda a, w: ag.layer_norm(a, w, None, 1e-5), A, ROW[:, 0, 0]),
    "attention": (
        lambda q, k, v, t: ag.transposed_attention(q, k, v, t, 2),
        IMAGE,
        IMAGE[::-1],
        IMAGE**2,
        np.array([1.0, 3.0]),
    ),
    "matmul": (ag.matmul, A, np.swapaxes(B, 2, 3)),
    "softmax": (ag.softmax, A),
    "spectral_norm": (lambda a, b: ag.spectral_norm(a - b), IMAGE, draw.normal(size=IMAGE.shape)),
    "largest": (lambda a: gating.largest(a, axes=(2, 3)), IMAGE),
    "largest_channel": (lambda a: gating.largest(a, axes=(1,)), IMAGE),
    "shrink": (lambda a: gating.shrink(a, factor=2), IMAGE[:, :, :6]),
    "resize": (lambda a: gating.resize(a, size=(3, 9)), IMAGE),
    "prompt": (lambda s, p: gating.prompt(s, p, (4, 3)), IMAGE[:, :, :1, :1], IMAGE.transpose(1, 0, 2, 3)),
    "frequencies": (lambda a: gating.frequencies(a, np.full((len(IMAGE), 2, 1, 1), 0.6), block=2), IMAGE),
    "reused": (lambda a, b: (a * b + a).square() - b * (a - b), A, B),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_gradients(case):
    check_gradients(*case)


CONVOLUTIONS = [
    # images, kernels, options
    ((2, 3, 6, 5), (4, 3, 3, 3), {"padding": 1}),
    ((2, 3, 7, 5), (2, 3, 3, 3), {"padding": 1, "stride": 2}),
    ((1, 5, 6, 6), (2, 5, 5, 5), {"padding": 2}),
    ((1, 5, 6, 6), (2, 5, 3, 3), {}),
    ((1, 4, 5, 8), (6, 2, 3, 3), {"padding": 1, "groups": 2}),
    ((2, 6, 3, 4), (9, 2, 1, 1), {"groups": 3}),
    ((1, 4, 8, 5), (4, 1, 3, 3), {"padding": 2, "groups": 4, "stride": 3}),
    ((2, 3, 4, 5), (2, 3, 1, 1), {}),
    ((1, 1, 9, 9), (3, 1, 7, 7), {"padding": 3}),
    ((1, 2, 4, 4), (1, 2, 2, 2), {"padding": 3}),
    ((2, 3, 8, 7), (5, 3, 3, 3), {"padding": 2, "dilation": 2}),
    ((2, 5, 8, 7), (3, 5, 3, 3), {"padding": 2, "dilation": 2}),
    ((1, 3, 9, 9), (2, 3, 3, 3), {"padding": 3, "dilation": 3, "stride": 2}),
    ((1, 4, 8, 8), (8, 1, 3, 3), {"padding": 1, "groups": 4}),
    ((2, 4, 8, 7), (4, 1, 3, 3), {"padding": 2, "groups": 4, "dilation": 2}),
    ((1, 6, 6, 6), (4, 3, 2, 2), {"groups": 2, "stride": 2}),
    ((1, 3, 8, 6), (4, 3, 4, 4), {"padding": 1, "stride": 2}),
]

UNEVEN = [
    ((2, 3, 6, 5), (4, 3, 2, 2), {"padding": (0, 1)}),
    ((2, 4, 6, 5), (2, 4, 4, 4), {"padding": (1, 2)}),
    ((2, 4, 6, 6), (4, 1, 4, 4), {"padding": (1, 2), "groups": 4, "stride": 2}),
    ((2, 4, 8, 6), (2, 4, 2, 2), {"padding": (2, 1), "dilation": 3}),
]


@pytest.mark.parametrize(("images", "kernels", "options"), CONVOLUTIONS + UNEVEN)
def test_gradients_of_convolutions(images, kernels, options):
    x, w, b = draw.normal(size=images), draw.normal(size=kernels), draw.normal(size=kernels[0])
    check_gradients(lambda x, w, b: ag.conv2d(x, w, b, **options), x, w, b)


def test_qcfs():
    """Bu et al. 2022: the values, and gradients that pass straight through the floor."""
    x = Tensor(np.array([-1.0, 0.1, 0.3, 0.74, 1.9, 5.0]), requires_grad=True)
    scale = Tensor(np.array(2.0), requires_grad=True)
    y = ag.qcfs(x, scale, levels=4)
    assert y.data.tolist() == [0.0, 0.0, 0.5, 0.5, 2.0, 2.0]
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0]
    assert scale.grad.item() == pytest.approx((-0.1 + 0.2 - 0.24 + 0.1) / 2 + 1)


def test_signed_qcfs():
    """Levels on both sides; what lies beyond them moves λ by its sign."""
    x = Tensor(np.array([-5.0, -1.9, -0.74, -0.1, 0.3, 5.0]), requires_grad=True)
    scale = Tensor(np.array(2.0), requires_grad=True)
    y = ag.qcfs(x, scale, levels=4, signed=True)
    assert y.data.tolist() == [-2.0, -2.0, -0.5, 0.0, 0.5, 2.0]
    y.sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 1, 0]
    assert scale.grad.item() == pytest.approx((-0.1 + 0.24 + 0.1 + 0.2) / 2)


def test_relu_passes_nothing_at_its_kinks():
    x = Tensor(np.array([-1.0, 0.0, 1.0, 2.0]), requires_grad=True)
    ag.clipped_relu(x, 2.0).sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 0]


def test_gradients_add_up_over_calls_and_memory_is_given_back():
    x = Tensor(np.ones(3), requires_grad=True)
    for _ in range(2):
        (x * 3.0).sum().backward()
    assert x.grad.tolist() == [6, 6, 6]
    y = x * 2.0
    loss = y.sum()
    loss.backward()
    assert loss._parents == ()
    assert y._backward is None


def test_what_needs_no_gradient_is_not_recorded():
    x = Tensor(np.ones(3, np.float32))
    y = (x * 2.0 + 1.0).sum()
    assert not y.requires_grad
    assert y._parents == ()
    assert y.data.dtype == np.float32
    with pytest.raises(RuntimeError, match="requires a gradient"):
        y.backward()


def test_dtypes():
    assert Tensor([1, 2]).data.dtype == np.float32
    assert Tensor(np.ones(2)).data.dtype == np.float64
    half = Tensor(np.ones(2, np.float32), requires_grad=True) * 0.5
    assert half.data.dtype == np.float32
    assert (np.ones(2, np.float32) * half).data.dtype == np.float32


def test_an_argument_without_a_rule_says_so():
    @operation(lambda g, out, a, b: g)
    def odd(a, b):
        return a + b

    with pytest.raises(TypeError, match="odd: there is no rule for the gradient of argument 2"):
        odd(Tensor(np.ones(2)), Tensor(np.ones(2), requires_grad=True)).sum().backward()


# ----- planted faults -----


@operation(lambda g, out, x: 2.01 * g * x)
def wrong(x):
    return x * x


@operation(lambda g, out, x: (g * x)[:1])
def misshapen(x):
    return x * x


def test_planted_wrong_rule_is_caught():
    with pytest.raises(DifferenceError, match=r"input 0, entry \(\d,\): the rule gives"):
        check_gradients(wrong, np.array([1.0, 2.0]))
    with pytest.raises(DifferenceError):
        check_gradients(lambda a, b: a + wrong(b), np.array([1.0]), np.array([1.0, 2.0]))
    check_gradients(wrong, np.array([1.0, 2.0]), tolerance=0.01)


def test_planted_wrong_shape_is_caught():
    with pytest.raises(DifferenceError, match=r"shape \(1,\), expected \(2,\)"):
        check_gradients(misshapen, np.array([1.0, 2.0]))


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_gradient_that_is_no_number_is_caught(at):
    """Wherever it stands among entries that agree."""
    spoilt = np.where(np.arange(3) == at, np.nan, 1.0)

    @operation(lambda g, out, x: 2 * g * x * spoilt)
    def undefined(x):
        return x * x

    with pytest.raises(DifferenceError, match="the rule gives nan"):
        check_gradients(undefined, np.array([1.0, 2.0, 3.0]))


# ----- PyTorch -----


def agree(ours, theirs, *arrays, tolerance=1e-12):
    torch = pytest.importorskip("torch")
    mine = [Tensor(a, requires_grad=True) for a in arrays]
    other = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = ours(*mine), theirs(torch, *other)
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=tolerance, atol=tolerance)
    g = np.random.default_rng(1).normal(size=y.shape).astype(y.data.dtype)
    y.backward(g)
    z.backward(torch.tensor(g))
    for a, b in zip(mine, other, strict=True):
        scale = max(1.0, np.abs(b.grad.numpy()).max())
        np.testing.assert_allclose(a.grad / scale, b.grad.numpy() / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("images", "kernels", "options"), UNEVEN)
def test_uneven_padding_is_padding_by_hand(images, kernels, options):
    x, w = draw.normal(size=images), draw.normal(size=kernels)
    padding = options["padding"]
    by_hand = np.pad(x, ((0, 0), (0, 0), padding, padding))
    ours = ag.conv2d(x, w, **options).data
    np.testing.assert_allclose(ours, ag.conv2d(by_hand, w, **(options | {"padding": 0})).data, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("images", "kernels", "options"), CONVOLUTIONS)
def test_torch_convolutions(images, kernels, options):
    arrays = (draw.normal(size=images), draw.normal(size=kernels), draw.normal(size=kernels[0]))
    agree(
        lambda x, w, b: ag.conv2d(x, w, b, **options),
        lambda torch, x, w, b: torch.nn.functional.conv2d(x, w, b, **options),
        *arrays,
    )


TWINS = {
    "gelu": (ag.gelu, lambda torch, a: torch.nn.functional.gelu(a), 3 * A),
    "silu": (ag.silu, lambda torch, a: torch.nn.functional.silu(a), 3 * A),
    "hard_swish": (ag.hard_swish, lambda torch, a: torch.nn.functional.hardswish(a), 3 * A),
    "leaky_relu": (ag.leaky_relu, lambda torch, a: torch.nn.functional.leaky_relu(a), A),
    "prelu": (ag.prelu, lambda torch, a, w: torch.nn.functional.prelu(a, w.reshape(-1)), A, ROW),
    "max_pool": (
        lambda a: ag.max_pool(a, size=2),
        lambda torch, a: torch.nn.functional.max_pool2d(a, 2),
        IMAGE[:, :, :6],
    ),
    "average_pool": (
        lambda a: ag.average_pool(a, size=2),
        lambda torch, a: torch.nn.functional.avg_pool2d(a, 2),
        IMAGE[:, :, :6],
    ),
    "channel_shuffle": (
        lambda a: ag.channel_shuffle(a, groups=2),
        lambda torch, a: torch.nn.functional.channel_shuffle(a, 2),
        IMAGE,
    ),
    "pixel_shuffle": (
        lambda a: ag.pixel_shuffle(a, factor=2),
        lambda torch, a: torch.nn.functional.pixel_shuffle(a, 2),
        IMAGE,
    ),
    "pixel_unshuffle": (
        lambda a: ag.pixel_unshuffle(a, factor=2),
        lambda torch, a: torch.nn.functional.pixel_unshuffle(a, 2),
        IMAGE[:, :, :6],
    ),
    "interpolate": (
        lambda a: ag.interpolate(a, factor=2),
        lambda torch, a: torch.nn.functional.interpolate(a, scale_factor=2, mode="bilinear", align_corners=False),
        IMAGE,
    ),
    "resize": (
        lambda a: gating.resize(a, size=(3, 9)),
        lambda torch, a: torch.nn.functional.interpolate(a, (3, 9), mode="bilinear", align_corners=False),
        IMAGE,
    ),
    "shrink": (
        lambda a: gating.shrink(a, factor=6),
        lambda torch, a: torch.nn.functional.interpolate(a, (1, 1), mode="bilinear", align_corners=False),
        IMAGE[:, :, :6, :6],
    ),
    "spectral_norm": (ag.spectral_norm, lambda torch, a: torch.fft.fft2(a).abs().mean(), IMAGE),
    "sigmoid": (ag.sigmoid, lambda torch, a: torch.sigmoid(a), 40 * A),
    "norm": (lambda a: a.square().mean(axis=(1, 2)).sqrt(), lambda torch, a: a.square().mean((1, 2)).sqrt(), A),
}


@pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS)
def test_torch(twin):
    agree(*twin)


def qcfs_of_torch(torch, x, scale):
    clipped = torch.clamp(x / scale, 0, 1)
    floored = torch.floor(clipped * 8 + 0.5) / 8
    return (clipped + (floored - clipped).detach()) * scale


def test_torch_qcfs():
    agree(lambda x, s: ag.qcfs(x, s, levels=8), qcfs_of_torch, 2 * IMAGE, np.array(1.3))


def test_torch_winograd():
    """Float32, many channels, sizes that are no multiples of a tile."""
    x, w = draw.normal(size=(3, 32, 10, 13)), draw.normal(size=(64, 32, 3, 3)) / 17
    agree(
        lambda x, w: ag.conv2d(x, w, padding=1),
        lambda torch, x, w: torch.nn.functional.conv2d(x, w, padding=1),
        x.astype(np.float32),
        w.astype(np.float32),
        tolerance=3e-5,
    )
