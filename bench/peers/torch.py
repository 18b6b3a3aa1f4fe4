#!/usr/bin/python3
"""PyTorch's side of the benchmark: the preset networks, trained and run on this machine's CPU.

usage: torch.py train|infer|export --network keras-mnist|classic-cifar10 [options]

Prints one JSON object a measurement, on a line of its own. `export` writes the network as an ONNX file of float NCHW
images, for runtimes that read those. Synthetic pixels: none of the kernels' times depends on what they are.
"""
import argparse
import json
import os
import sys
import time

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


NETWORKS = {
    "keras-mnist": (keras_mnist, (1, 28, 28), 60000),
    "classic-cifar10": (classic_cifar10, (3, 32, 32), 50000),
}


def blas():
    """Which BLAS the process has loaded: Debian's alternatives decide, and the reference one is many times slower."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        loaded = maps.read()
    return next((name for name in ("openblas", "mkl", "blis") if name in loaded), "reference")


def report(options, **figures):
    print(json.dumps({"program": "PyTorch", "version": torch.__version__, "mode": options.mode,
                      "network": options.network, "threads": options.threads, "batch": options.batch,
                      "variant": options.layout + (" scripted" if options.script else ""), "blas": blas(),
                      **figures}), flush=True)


def train(options, model, shape, images):
    """Epochs of forward, backward and Adam, dropout on, over shuffled float images; the fastest counts."""
    memory_format = LAYOUTS[options.layout]
    model = model.to(memory_format=memory_format).train()
    optimizer = torch.optim.Adam(model.parameters(), eps=1e-7)
    count = options.images or images
    pixels, labels = torch.rand(count, *shape), torch.randint(0, 10, (count,))
    seconds = []
    for _ in range(options.epochs):
        order = torch.randperm(count)
        start = time.perf_counter()
        for at in range(0, count, options.batch):
            taken = order[at:at + options.batch]
            batch = pixels[taken].contiguous(memory_format=memory_format)
            optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(model(batch), labels[taken])
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    report(options, images=count, seconds=min(seconds), images_per_second=count / min(seconds))


def infer(options, model, shape):
    memory_format = LAYOUTS[options.layout]
    model = nn.Sequential(model, nn.Softmax(1)).to(memory_format=memory_format).eval()
    batch = torch.rand(options.batch, *shape).contiguous(memory_format=memory_format)
    with torch.inference_mode():
        if options.script:
            model = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, batch)))
        for _ in range(max(3, 300 // options.batch)):
            model(batch)
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < options.seconds:
            model(batch)
            done += options.batch
        seconds = time.perf_counter() - start
    report(options, images=done, seconds=seconds, images_per_second=done / seconds)


def export(options, model, shape):
    model = nn.Sequential(model, nn.Softmax(1)).eval()
    torch.onnx.export(model, torch.rand(1, *shape), options.output, opset_version=13, input_names=["images"],
                      output_names=["probabilities"], dynamic_axes={"images": {0: "n"}, "probabilities": {0: "n"}})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["train", "infer", "export"])
    parser.add_argument("--network", choices=sorted(NETWORKS), required=True)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--layout", choices=sorted(LAYOUTS), default="nchw")
    parser.add_argument("--images", type=int, default=0, help="of an epoch; 0: as many as the data set has")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--script", action="store_true", help="infer: freeze and optimize the traced network")
    parser.add_argument("--output", help="export: the file to write")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    make, shape, images = NETWORKS[options.network]
    if options.mode == "train":
        train(options, make(), shape, images)
    elif options.mode == "infer":
        infer(options, make(), shape)
    else:
        export(options, make(), shape)


if __name__ == "__main__":
    main()
