#!/usr/bin/python3
"""Makes vectors/: training runs in PyTorch that the engine's must agree with.

usage: make_vectors.py [FASHION_MNIST_DIR]     (Debian: python3-torch, python3-numpy, dataset-fashion-mnist)

Everything random comes from counter_random.py, everything is computed in double precision and stored as float32 in
convd's canonical order. Each run is repeated in single precision and the largest difference printed: that is what no
f32 engine can be expected to stay under. A value within rounding of a ReLU's kink, or of its neighbour in a maximum,
may send the gradient another way, and the weights apart by a thousand times as much; so each run is repeated with noise
as large as rounding, and its seed chosen so that nothing of the kind happens. For each run vectors/RUN.textproto holds
the TrainRequest and RUN.npz:

  images, labels     the training set, as the engine takes it: n x height x width x channels, uint8 or float32
  order              the samples' indices as taken, all epochs one after the other
  losses, accuracies one a step, over the step's real samples, dropout on
  dropout_L          packed bits (first element in the highest bit) of dropout layer L: a row a taken sample, 1 = kept
  initial_crc32      of the initial parameters' bytes (float32, little endian, in Graph::parameters() order)
  initial            those parameters; left out where the array is big
  probabilities      of all the images with the initial weights, without dropout
  gradient           of the first step's loss, all parameters
  final              all parameters after the last step
  final_probabilities  of all the images with them, without dropout
"""
import gzip
import os
import sys
import zlib

import numpy as np
import torch
from torch.nn import functional as F

sys.dont_write_bytecode = True

import counter_random
from reference_network import ReferenceNetwork

HERE = os.path.dirname(os.path.abspath(__file__))


def keras_mnist():
    return ReferenceNetwork("keras-mnist", 28, 28, 1, [
        ("conv", {"filters": 32, "kernel": 3, "activation": "relu"}),
        ("max_pool", {"size": 2}),
        ("conv", {"filters": 64, "kernel": 3, "activation": "relu"}),
        ("max_pool", {"size": 2}),
        ("flatten", {}),
        ("dropout", {"rate": 0.5}),
        ("dense", {"units": 10, "activation": "softmax"}),
    ])


def lenet5():
    return ReferenceNetwork("lenet5", 28, 28, 1, [
        ("conv", {"filters": 6, "kernel": 5, "same": True, "activation": "tanh"}),
        ("average_pool", {"size": 2}),
        ("conv", {"filters": 16, "kernel": 5, "activation": "tanh"}),
        ("average_pool", {"size": 2}),
        ("flatten", {}),
        ("dense", {"units": 120, "activation": "tanh"}),
        ("dense", {"units": 84, "activation": "tanh"}),
        ("dense", {"units": 10, "activation": "softmax"}),
    ])


def layer_kinds():
    """Every layer kind, padding, groups, dilation and a network that ends in logits."""
    return ReferenceNetwork("layer-kinds", 12, 12, 2, [
        ("conv", {"filters": 8, "kernel": 3, "same": True, "activation": "leaky_relu"}),
        ("conv", {"filters": 8, "kernel": 3, "groups": 2, "activation": "elu"}),
        ("max_pool", {"size": 3, "stride": 2, "same": True}),
        ("conv", {"filters": 6, "kernel": 3, "dilation": 2, "same": True, "activation": "sigmoid", "no_bias": True}),
        ("average_pool", {"size": 2, "same": True}),
        ("activation", {"activation": "tanh"}),
        ("conv", {"filters": 4, "kernel": (2, 3), "stride": (1, 2), "same": True}),
        ("activation", {"activation": "elu", "alpha": 0.5}),
        ("dropout", {"rate": 0.25}),
        ("flatten", {}),
        ("dense", {"units": 7, "activation": "tanh"}),
        ("activation", {"activation": "leaky_relu", "alpha": 0.125}),
        ("dropout", {"rate": 0.1}),
        ("dense", {"units": 5, "no_bias": True}),
    ], scale=0.5)


def strided():
    """Strided convolution with padding, depthwise convolution, overlapping average pool, a softmax layer of its own."""
    return ReferenceNetwork("strided", 9, 7, 1, [
        ("conv", {"filters": 5, "kernel": 3, "stride": 2, "same": True, "activation": "relu"}),
        ("conv", {"filters": 10, "kernel": 2, "groups": 5, "activation": "leaky_relu"}),
        ("average_pool", {"size": 2, "stride": 1}),
        ("flatten", {}),
        ("dense", {"units": 6, "activation": "sigmoid"}),
        ("dense", {"units": 3}),
        ("activation", {"activation": "softmax"}),
    ])


class Optimizer:
    """PyTorch's optimizer and the textproto of the same figures."""

    def __init__(self, make, text):
        self.make, self.text = make, text


def adam(rate, beta_1, beta_2, epsilon):
    return Optimizer(lambda tensors: torch.optim.Adam(tensors, lr=rate, betas=(beta_1, beta_2), eps=epsilon),
                     f"adam {{ learning_rate: {rate} beta_1: {beta_1} beta_2: {beta_2} epsilon: {epsilon} }}")


def sgd(rate, momentum=0.0, nesterov=False):
    return Optimizer(lambda tensors: torch.optim.SGD(tensors, lr=rate, momentum=momentum, nesterov=nesterov),
                     f"sgd {{ learning_rate: {rate} momentum: {momentum} nesterov: {str(nesterov).lower()} }}")


def flat(tensors):
    return torch.cat([t.detach().reshape(-1) for t in tensors]).numpy().astype(np.float32)


def train(net, optimizer, images, labels, batch, epochs, seed, dtype=torch.float64, disturb=None):
    initial = net.initial(seed)
    tensors = [t.to(dtype).clone().requires_grad_() for t in initial]
    stepper = optimizer.make(tensors)
    out = {"images": images, "labels": labels.astype(np.uint8), "losses": [], "accuracies": [], "order": []}
    start = flat(initial)
    out["initial_crc32"] = np.array([zlib.crc32(start.tobytes())], dtype=np.float64)
    if start.size < 10000:
        out["initial"] = start
    targets = torch.from_numpy(labels.astype(np.int64))

    def probabilities():
        with torch.no_grad():
            return torch.softmax(net.forward(tensors, images), 1).numpy().astype(np.float32)

    out["probabilities"] = probabilities()
    packed = {}
    for epoch in range(1, epochs + 1):
        order = counter_random.shuffled_order(seed, epoch, len(images))
        out["order"].append(order)
        masks = net.masks(seed, epoch, order)
        for layer, mask in masks.items():
            packed.setdefault(layer, []).append(np.packbits(mask.reshape(len(order), -1), axis=1))
        for at in range(0, len(images), batch):
            taken = order[at:at + batch]
            stepper.zero_grad()
            logits = net.forward(tensors, images[taken], {k: m[at:at + batch] for k, m in masks.items()},
                                 disturb)
            loss = F.cross_entropy(logits, targets[taken])
            loss.backward()
            if not out["losses"]:
                out["gradient"] = flat([t.grad for t in tensors])
            out["losses"].append(loss.item())
            out["accuracies"].append((logits.argmax(1) == targets[taken]).double().mean().item())
            stepper.step()
    out["final"] = flat(tensors)
    out["final_probabilities"] = probabilities()
    out["order"] = np.concatenate(out["order"]).astype(np.float64)
    for name in ("losses", "accuracies"):
        out[name] = np.array(out[name], dtype=np.float64)
    for layer, rows in packed.items():
        out[f"dropout_{layer}"] = np.concatenate(rows)
    return out


def difference(net, double, single, name):
    """Largest, over the tensors, of |difference| / largest magnitude in the tensor."""
    worst, at = 0.0, 0
    for shape, _, _ in net.parameters:
        n = int(np.prod(shape))
        a, b = double[name][at:at + n].astype(np.float64), single[name][at:at + n].astype(np.float64)
        worst = max(worst, np.abs(a - b).max() / max(np.abs(a).max(), 1e-30))
        at += n
    return worst


def rounding_noise(seed):
    """Disturbs a tensor by as much as rounding to f32 does in sums of its values' magnitude; an exact zero (what black
    pixels and zero biases add up to) stays one, as it does in sums of zeros.
    """
    generator = torch.Generator().manual_seed(seed)

    def disturb(x):
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        return x + 2e-7 * x.detach().abs().mean() * noise * (x.detach() != 0)

    return disturb


def write(run, net, optimizer, images, labels, batch, epochs, seed):
    arguments = (net, optimizer, images, labels, batch, epochs, seed)
    double, single = train(*arguments), train(*arguments, dtype=torch.float32)
    loss = np.abs(double["losses"] / single["losses"] - 1).max()
    disturbed = max(difference(net, double, train(*arguments, disturb=rounding_noise(i)), "final") for i in range(8))
    print(f"{run}: {len(double['losses'])} steps, loss {double['losses'][0]:.6f} -> {double['losses'][-1]:.6f}; "
          f"f32 differs by {loss:.1e} in the losses, {difference(net, double, single, 'gradient'):.1e} in the first "
          f"gradient, {difference(net, double, single, 'final'):.1e} in the final weights; noise moves those by up to "
          f"{disturbed:.1e}", flush=True)
    if disturbed > 1e-4:
        raise SystemExit(f"{run}: rounding alone decides on which side of zero some ReLU is; choose another seed")
    with open(os.path.join(HERE, "vectors", run + ".textproto"), "w") as f:
        f.write(f"# A convd.v1.TrainRequest, written by make_vectors.py.\nmodel: \"{net.name}\"\n"
                f"batch_size: {batch}\nepochs: {epochs}\nseed: {seed}\noptimizer {{ {optimizer.text} }}\n"
                "network {\n" + "".join(f"  {line}\n" for line in net.textproto().splitlines()) + "}\n")
    np.savez_compressed(os.path.join(HERE, "vectors", run + ".npz"), **double)


def fashion_mnist(folder, count):
    with gzip.open(os.path.join(folder, "train-images-idx3-ubyte.gz")) as f:
        images = np.frombuffer(f.read(16 + count * 784), np.uint8, offset=16).reshape(count, 28, 28, 1)
    with gzip.open(os.path.join(folder, "train-labels-idx1-ubyte.gz")) as f:
        labels = np.frombuffer(f.read(8 + count), np.uint8, offset=8)
    return images, labels


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else "/usr/share/datasets/fashion-mnist"
    counter_random.check_known_answers()
    torch.set_num_threads(1)
    os.makedirs(os.path.join(HERE, "vectors"), exist_ok=True)

    images, labels = fashion_mnist(folder, 160)
    # No pixel is black: black windows and zero biases add up to exactly zero, where a ReLU has no gradient. The engine's
    # Winograd convolutions subtract there what they added, and are left with rounding of either sign.
    images = np.maximum(images, np.random.default_rng(1).integers(8, 24, images.shape, dtype=np.uint8))
    write("keras_mnist", keras_mnist(), adam(0.001, 0.9, 0.999, 1e-7), images, labels, 16, 1, 8)

    write("lenet5", lenet5(), adam(0.001, 0.9, 0.999, 1e-7), images[:64], labels[:64], 16, 2, 1)

    data = np.random.default_rng(2024)
    images = data.standard_normal((33, 12, 12, 2)).astype(np.float32)
    labels = data.integers(0, 5, 33)
    write("layer_kinds", layer_kinds(), adam(0.01, 0.8, 0.99, 1e-4), images, labels, 13, 2,
          0x123456789ABCDEF0)

    images = data.integers(0, 256, (17, 9, 7, 1), dtype=np.uint8)
    labels = data.integers(0, 3, 17)
    write("sgd", strided(), sgd(0.05), images, labels, 8, 2, 3)
    write("sgd_momentum", strided(), sgd(0.05, 0.9), images, labels, 8, 2, 3)
    write("sgd_nesterov", strided(), sgd(0.05, 0.9, True), images, labels, 8, 2, 3)


if __name__ == "__main__":
    main()
