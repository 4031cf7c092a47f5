"""nspike: restore images with spiking neural networks on a CPU, and account for every spike.

The public names below are all that a plugin may use. They are loaded when first used, so that importing nspike is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Activation": "layer",
    "Architecture": "architecture",
    "BadInputError": "errors",
    "Calibration": "conversion",
    "Checkpoint": "checkpoint",
    "Concat": "layer",
    "Conv": "layer",
    "Converter": "conversion",
    "Costs": "costs",
    "EnergyColumn": "energy",
    "EnergyModel": "energy",
    "Evaluation": "evaluation",
    "Format": "checkpoint",
    "Gate": "layer",
    "Head": "head",
    "Info": "model",
    "Ledger": "ledger",
    "Loss": "loss",
    "Model": "model",
    "ModelError": "errors",
    "NEVER": "neuron",
    "Network": "network",
    "Neuron": "neuron",
    "NspikeError": "errors",
    "Option": "conversion",
    "OutputLayer": "head",
    "PICTURE": "layer",
    "Parameter": "neuron",
    "PluginError": "errors",
    "Result": "restoration",
    "Scales": "conversion",
    "Spiking": "model",
    "Tensor": "autograd.tensor",
    "Trace": "traces",
    "UsageError": "errors",
    "arithmetic_energy": "pricing.arithmetic",
    "audit": "auditing",
    "check_gradients": "autograd.checking",
    "convert": "api",
    "convolve_spikes": "head",
    "convolve_spikes_gradient": "head",
    "curve": "anytime",
    "diff": "trace_difference",
    "evaluate": "evaluation",
    "finetune": "trainer",
    "hookimpl": "markers",
    "import_checkpoint": "importing",
    "load": "api",
    "memory_energy": "pricing.memory",
    "operation": "autograd.tensor",
    "quantised_energy": "pricing.quantised",
    "read_costs": "costs",
    "read_trace": "traces",
    "replay": "replaying",
    "restore": "restoration",
    "save": "api",
    "shorten": "architecture",
    "spectral_norm": "autograd.spatial",
    "strip_shared": "architecture",
    "swap": "parts",
    "take": "architecture",
    "trace": "tracing",
    "train": "trainer",
    "verify": "auditing",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'nspike' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"nspike.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from nspike.anytime import curve as curve
    from nspike.api import convert as convert
    from nspike.api import load as load
    from nspike.api import save as save
    from nspike.architecture import Architecture as Architecture
    from nspike.architecture import shorten as shorten
    from nspike.architecture import strip_shared as strip_shared
    from nspike.architecture import take as take
    from nspike.auditing import audit as audit
    from nspike.auditing import verify as verify
    from nspike.autograd.checking import check_gradients as check_gradients
    from nspike.autograd.spatial import spectral_norm as spectral_norm
    from nspike.autograd.tensor import Tensor as Tensor
    from nspike.autograd.tensor import operation as operation
    from nspike.checkpoint import Checkpoint as Checkpoint
    from nspike.checkpoint import Format as Format
    from nspike.conversion import Calibration as Calibration
    from nspike.conversion import Converter as Converter
    from nspike.conversion import Option as Option
    from nspike.conversion import Scales as Scales
    from nspike.costs import Costs as Costs
    from nspike.costs import read_costs as read_costs
    from nspike.energy import EnergyColumn as EnergyColumn
    from nspike.energy import EnergyModel as EnergyModel
    from nspike.errors import BadInputError as BadInputError
    from nspike.errors import ModelError as ModelError
    from nspike.errors import NspikeError as NspikeError
    from nspike.errors import PluginError as PluginError
    from nspike.errors import UsageError as UsageError
    from nspike.evaluation import Evaluation as Evaluation
    from nspike.evaluation import evaluate as evaluate
    from nspike.head import Head as Head
    from nspike.head import OutputLayer as OutputLayer
    from nspike.head import convolve_spikes as convolve_spikes
    from nspike.head import convolve_spikes_gradient as convolve_spikes_gradient
    from nspike.importing import import_checkpoint as import_checkpoint
    from nspike.layer import PICTURE as PICTURE
    from nspike.layer import Activation as Activation
    from nspike.layer import Concat as Concat
    from nspike.layer import Conv as Conv
    from nspike.layer import Gate as Gate
    from nspike.ledger import Ledger as Ledger
    from nspike.loss import Loss as Loss
    from nspike.markers import hookimpl as hookimpl
    from nspike.model import Info as Info
    from nspike.model import Model as Model
    from nspike.model import Spiking as Spiking
    from nspike.network import Network as Network
    from nspike.neuron import NEVER as NEVER
    from nspike.neuron import Neuron as Neuron
    from nspike.neuron import Parameter as Parameter
    from nspike.parts import swap as swap
    from nspike.pricing.arithmetic import arithmetic_energy as arithmetic_energy
    from nspike.pricing.memory import memory_energy as memory_energy
    from nspike.pricing.quantised import quantised_energy as quantised_energy
    from nspike.replaying import replay as replay
    from nspike.restoration import Result as Result
    from nspike.restoration import restore as restore
    from nspike.trace_difference import diff as diff
    from nspike.traces import Trace as Trace
    from nspike.traces import read_trace as read_trace
    from nspike.tracing import trace as trace
    from nspike.trainer import finetune as finetune
    from nspike.trainer import train as train
