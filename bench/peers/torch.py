#!/usr/bin/python3
"""PyTorch's side of the benchmark: the preset networks, trained and run on this machine's CPU.

usage: torch.py train|infer|export --network keras-mnist|classic-cifar10|lenet5 [options]

Prints one JSON object on a line. `export` writes the network as an ONNX file of float NCHW
images, for runtimes that read those. Synthetic pixels: none of the kernels' times depends on what they are.
"""
import argparse
import json
import os
import sys
import time

import side_by_side

# This file bears the name of the library that it imports.
sys.path = [p for p in sys.path if os.path.realpath(p or ".") != os.path.dirname(os.path.realpath(__file__))]

import torch
from torch import nn

LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}


def keras_mnist():
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(1600, 10))  # yapf: disable


def classic_cifar10():
    return nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 14 * 14, 10))  # yapf: disable


def lenet5():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10))  # yapf: disable


NETWORKS = {
    "keras-mnist": (keras_mnist, (1, 28, 28), 60000),
    "classic-cifar10": (classic_cifar10, (3, 32, 32), 50000),
    "lenet5": (lenet5, (1, 28, 28), 60000),
}


def blas():
    """Which BLAS the process has loaded: Debian's alternatives decide, and the reference one is many times slower."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        files = {os.path.basename(line.split()[-1]) for line in maps}
    return next((file for file in sorted(files) if file.startswith(("libopenblas", "libmkl", "libblis"))), "reference")


def report(options, rate):
    print(json.dumps({"version": torch.__version__, "blas": blas(), "mode": options.mode, "network": options.network,
                      "layout": options.layout, "scripted": options.script, "threads": options.threads,
                      "processes": options.processes, "batch": options.batch, "images_per_second": rate}), flush=True)


def shuffled(count, batch):
    """Indices of one batch after another, epoch after epoch; what is too little for a batch is left out."""
    while True:
        order = torch.randperm(count)
        for at in range(0, count - batch + 1, batch):
            yield order[at:at + batch]


def train(options, model, shape, images):
    """Forward, backward and Adam, dropout on, over shuffled float images; the faster of two stretches counts."""
    memory_format = LAYOUTS[options.layout]
    model = model.to(memory_format=memory_format).train()
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-7)
    pixels, labels = torch.rand(images, *shape), torch.randint(0, 10, (images,))
    order = shuffled(images, options.batch)

    def step():
        taken = next(order)
        batch = pixels[taken].contiguous(memory_format=memory_format)
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(batch), labels[taken])
        loss.backward()
        optimizer.step()

    for _ in range(max(2, 300 // options.batch)):
        step()
    rates = []
    for _ in range(2):
        steps, start = 0, time.perf_counter()
        while steps < 2 or time.perf_counter() - start < options.seconds / 2:
            step()
            steps += 1
        rates.append(steps * options.batch / (time.perf_counter() - start))
    return max(rates)


def infer(options, model, shape, ready):
    memory_format = LAYOUTS[options.layout]
    model = nn.Sequential(model, nn.Softmax(1)).to(memory_format=memory_format).eval()
    batch = torch.rand(options.batch, *shape).contiguous(memory_format=memory_format)
    with torch.inference_mode():
        if options.script:
            # A PyTorch built with LLVM, as Debian 13's is, fuses what oneDNN leaves. That is faster with single images;
            # with more, its compiler was seen not to end within minutes.
            torch._C._jit_set_texpr_fuser_enabled(options.batch == 1)
            model = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, batch)))
        for _ in range(max(3, 300 // options.batch)):
            model(batch)
        ready()
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < options.seconds:
            model(batch)
            done += options.batch
        return done, time.perf_counter() - start


def export(options, model, shape):
    model = nn.Sequential(model, nn.Softmax(1)).eval()
    torch.onnx.export(model, torch.rand(1, *shape), options.output, opset_version=13, input_names=["images"],
                      output_names=["probabilities"], dynamic_axes={"images": {0: "n"}, "probabilities": {0: "n"}})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["train", "infer", "export"])
    parser.add_argument("--network", choices=sorted(NETWORKS), required=True)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1, help="of a process")
    parser.add_argument("--processes", type=int, default=1, help="infer: side by side; their rates add")
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="nchw")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--script", action="store_true", help="infer: freeze and optimize the traced network")
    parser.add_argument("--output", help="export: the file to write")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    make, shape, images = NETWORKS[options.network]
    if options.mode == "train":
        report(options, train(options, make(), shape, images))
    elif options.mode == "infer":
        # Each process makes its own model: nothing has run in this one when it forks.
        report(options, side_by_side.measure(options.processes, lambda ready: infer(options, make(), shape, ready)))
    else:
        export(options, make(), shape)


if __name__ == "__main__":
    main()
