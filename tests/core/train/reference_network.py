"""Networks in PyTorch, double precision, with convd's canonical shapes: NHWC images, OIHW kernels, dense kernels
{inputs, units} over height, width, channels. A network is a Python description that is also written as textproto, so
that the engine and this reference cannot read two different ones.
"""
import math

import numpy as np
import torch
from torch.nn import functional as F

import counter_random


def same_padding(size, kernel, stride, dilation=1):
    """Before and after, along one axis; the odd one goes to the end (ONNX SAME_UPPER)."""
    total = max((math.ceil(size / stride) - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def pad_to_same(x, kernel, stride, dilation, value):
    top, bottom = same_padding(x.shape[2], kernel[0], stride[0], dilation[0])
    left, right = same_padding(x.shape[3], kernel[1], stride[1], dilation[1])
    return F.pad(x, (left, right, top, bottom), value=value)


def activate(x, name, alpha=None):
    if name is None or name == "softmax":  # a softmax that ends the network is part of the loss
        return x
    return {
        "relu": F.relu,
        "leaky_relu": lambda v: F.leaky_relu(v, float(np.float32(0.3 if alpha is None else alpha))),
        "elu": lambda v: F.elu(v, 1.0 if alpha is None else float(np.float32(alpha))),
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
    }[name](x)


def pair(value):
    return tuple(value) if isinstance(value, (list, tuple)) else (value, value)


class ReferenceNetwork:
    """layers: (kind, fields) in the words of network.proto. Parameters as the engine's Graph lists them."""

    def __init__(self, name, height, width, channels, layers, scale=1 / 255):
        self.name, self.input, self.layers, self.scale = name, (height, width, channels), layers, np.float32(scale)
        self.parameters = []  # (shape, fan_in, fan_out); fans are 0 for a bias
        self._list_parameters()

    def _list_parameters(self):
        x = torch.zeros(1, self.input[2], *self.input[:2], dtype=torch.float64)
        for kind, f in self.layers:
            known = len(self.parameters)
            if kind == "conv":
                kh, kw = pair(f["kernel"])
                inputs = x.shape[1] // f.get("groups", 1)
                self.parameters.append(((f["filters"], inputs, kh, kw), kh * kw * inputs,
                                        kh * kw * f["filters"] // f.get("groups", 1)))
                if not f.get("no_bias"):
                    self.parameters.append(((f["filters"],), 0, 0))
            elif kind == "dense":
                self.parameters.append(((x.shape[1], f["units"]), x.shape[1], f["units"]))
                if not f.get("no_bias"):
                    self.parameters.append(((f["units"],), 0, 0))
            added = self.parameters[known:]
            x = self._layer(kind, f, x, iter([torch.zeros(shape, dtype=torch.float64) for shape, _, _ in added]), None)

    @staticmethod
    def _layer(kind, f, x, tensors, mask, disturb=None):
        if kind == "conv":
            kernel, stride, dilation = pair(f["kernel"]), pair(f.get("stride", 1)), pair(f.get("dilation", 1))
            if f.get("same"):
                x = pad_to_same(x, kernel, stride, dilation, 0.0)
            weights = next(tensors)
            bias = None if f.get("no_bias") else next(tensors)
            x = F.conv2d(x, weights, bias, stride, 0, dilation, f.get("groups", 1))
        elif kind == "max_pool":
            size = pair(f.get("size", 2))
            stride = pair(f.get("stride", size))
            if f.get("same"):
                x = pad_to_same(x, size, stride, (1, 1), -math.inf)
            x = F.max_pool2d(x, size, stride)
        elif kind == "average_pool":
            size = pair(f.get("size", 2))
            stride = pair(f.get("stride", size))
            counted = torch.ones_like(x[:1, :1])
            if f.get("same"):
                x, counted = (pad_to_same(v, size, stride, (1, 1), 0.0) for v in (x, counted))
            x = F.avg_pool2d(x, size, stride) / F.avg_pool2d(counted, size, stride)
        elif kind == "dense":
            x = x @ next(tensors)
            if not f.get("no_bias"):
                x = x + next(tensors)
        elif kind == "flatten":
            x = x.permute(0, 2, 3, 1).flatten(1)
        elif kind == "dropout":
            if mask is not None:
                keep = 1 - float(np.float32(f["rate"]))
                x = x * mask.to(x.dtype) / keep
        if disturb is not None and kind in ("conv", "dense"):
            x = disturb(x)
        return activate(x, f.get("activation"), f.get("alpha"))

    def initial(self, seed):
        return [
            torch.from_numpy(counter_random.glorot_uniform(seed, i, fan_in, fan_out, math.prod(shape)).reshape(shape))
            if fan_in else torch.zeros(shape) for i, (shape, fan_in, fan_out) in enumerate(self.parameters)
        ]

    def masks(self, seed, epoch, samples):
        """Dropout's masks by layer index, for samples given by their index in the training set."""
        found = {}
        x = torch.zeros(1, self.input[2], *self.input[:2], dtype=torch.float64)
        zeros = iter([torch.zeros(shape, dtype=torch.float64) for shape, _, _ in self.parameters])
        for index, (kind, f) in enumerate(self.layers):
            x = self._layer(kind, f, x, zeros, None)
            if kind == "dropout":
                # An element's number is its place in height, width, channels.
                shape = x.shape[1:] if x.dim() == 2 else (x.shape[2], x.shape[3], x.shape[1])
                drawn = np.stack([
                    counter_random.dropout_mask(seed, index, epoch, int(s), f["rate"], math.prod(shape))
                    for s in samples
                ])
                found[index] = drawn.reshape(len(samples), *shape)
        return found

    def forward(self, tensors, images, masks=None, disturb=None):
        """images: n x height x width x channels as stored (uint8 or f32); logits. `disturb` takes what a convolution or
        dense layer computed, before its activation, and returns what to go on with.
        """
        dtype = tensors[0].dtype
        x = (torch.from_numpy(np.array(images)).to(dtype) * float(self.scale)).permute(0, 3, 1, 2)
        remaining = iter(tensors)
        for index, (kind, f) in enumerate(self.layers):
            mask = None
            if masks is not None and index in masks:
                mask = torch.from_numpy(masks[index])
                if mask.dim() == 4:
                    mask = mask.permute(0, 3, 1, 2)
            x = self._layer(kind, f, x, remaining, mask, disturb)
        return x

    def textproto(self):
        lines = [f'name: "{self.name}"',
                 "input { height: %d width: %d channels: %d }" % self.input]
        if self.scale != np.float32(1 / 255):
            lines.append(f"preprocessing {{ scale: {self.scale} }}")
        for kind, f in self.layers:
            fields = []
            for key, value in f.items():
                if key == "same":
                    fields.append("padding: PADDING_SAME")
                elif key == "activation":
                    fields.append(f"activation: ACTIVATION_{value.upper()}")
                elif key == "no_bias":
                    fields.append("no_bias: true")
                elif isinstance(value, (list, tuple)):
                    fields.append(f"{key}: [{', '.join(str(v) for v in value)}]")
                else:
                    fields.append(f"{key}: {value}")
            lines.append(f"layers {{ {kind} {{ {' '.join(fields)}{' ' if fields else ''}}} }}")
        return "\n".join(lines) + "\n"
