"""A trained VAE of vae_digits.py as an ONNX model, made from its weights alone."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from vae_digits import VAE

OPSET, IR_VERSION = 17, 8  # of 2022: older runtimes read it too


def dense(name: str, inputs: str) -> tuple[tuple[str, str, str], ...]:
    """Two nodes, of which the second has the layer's name."""
    product = f"{name}.product"
    return ("MatMul", f"{inputs} {name}.weight", product), ("Add", f"{product} {name}.bias", name)


NODES = (  # kind, inputs, output
    *dense("encoder", "x"),
    ("Tanh", "encoder", "encoder.tanh"),
    *dense("z_mean", "encoder.tanh"),
    *dense("z_logvar", "encoder.tanh"),
    ("Mul", "z_logvar half", "z_logstd"),
    ("Exp", "z_logstd", "z_std"),
    ("Mul", "z_std eps", "z_noise"),
    ("Add", "z_mean z_noise", "z"),
    *dense("decoder", "z"),
    ("Tanh", "decoder", "decoder.tanh"),
    *dense("recon", "decoder.tanh"),
    ("Identity", "logvar.parameter", "logvar"),
)


def to_onnx(model: VAE) -> bytes:
    """The graph from (x, eps) to (recon, logvar, z_mean, z_logvar), in the dtype of the weights."""
    weights = dict(model.params)
    weights["logvar.parameter"] = logvar = weights.pop("logvar")
    weights["half"] = np.asarray(0.5, logvar.dtype)
    for part in ("weight", "bias"):
        halves = np.split(weights.pop(f"posterior.{part}"), 2, axis=-1)
        weights |= {f"z_mean.{part}": halves[0], f"z_logvar.{part}": halves[1]}

    def tensors(**shapes: list[str | int]) -> list[onnx.ValueInfoProto]:
        element = helper.np_dtype_to_tensor_dtype(logvar.dtype)
        return [helper.make_tensor_value_info(name, element, shape) for name, shape in shapes.items()]

    latents: list[str | int] = ["N", model.n_latent]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs.split(), [output]) for kind, inputs, output in NODES],
        "vae",
        tensors(x=["N", logvar.size], eps=["S", *latents]),
        tensors(recon=["S", "N", logvar.size], logvar=[logvar.size], z_mean=latents, z_logvar=latents),
        [numpy_helper.from_array(np.ascontiguousarray(w), name) for name, w in weights.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString())
