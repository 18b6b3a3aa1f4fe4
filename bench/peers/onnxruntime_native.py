#!/usr/bin/python3
"""ONNX Runtime's side of the benchmark as Debian 13 has it (python3-onnxruntime): a model file on the CPU provider.

usage: onnxruntime_native.py MODEL.onnx [--threads 1] [--sessions 1] [--batch 1] [--seconds 2]

--sessions are processes with a session each, --threads each one's. Prints one JSON object on a line. Inputs and outputs
are bound once, so that no array is made or copied for a request.
"""
import argparse
import json
import time

import numpy
import onnxruntime

import side_by_side


def open_session(options):
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(options.model, settings, providers=["CPUExecutionProvider"])


def infer(options, ready):
    session = open_session(options)
    wanted, given = session.get_inputs()[0], session.get_outputs()[0]
    shape = [options.batch, *wanted.shape[1:]]
    random = numpy.random.default_rng(1)
    if wanted.type == "tensor(uint8)":
        images = random.integers(0, 256, shape, dtype=numpy.uint8)
    else:
        images = random.random(shape, dtype=numpy.float32)
    probabilities = numpy.empty([options.batch, *given.shape[1:]], numpy.float32)
    binding = session.io_binding()
    binding.bind_ortvalue_input(wanted.name, onnxruntime.OrtValue.ortvalue_from_numpy(images))
    result = onnxruntime.OrtValue.ortvalue_from_numpy(probabilities)
    binding.bind_ortvalue_output(given.name, result)
    for _ in range(max(3, 300 // options.batch)):
        session.run_with_iobinding(binding)
    if not numpy.allclose(result.numpy().sum(axis=1), 1, atol=1e-3):
        raise SystemExit(f"{options.model}: the outputs are no probabilities")
    ready()
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < options.seconds:
        session.run_with_iobinding(binding)
        done += options.batch
    return done, time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=1, help="of a session")
    parser.add_argument("--sessions", type=int, default=1, help="side by side, in a process each; their rates add")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    rate = side_by_side.measure(options.sessions, lambda ready: infer(options, ready))
    print(json.dumps({"version": onnxruntime.__version__, "threads": options.threads, "sessions": options.sessions,
                      "batch": options.batch, "images_per_second": rate}))


if __name__ == "__main__":
    main()
