"""nspike: restore images with spiking neural networks on a CPU, and account for every spike.

The public names below are all that a plugin may use. They are loaded when first used, so that importing nspike is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

from nspike.runtime.version import VERSION as __version__

_HOME = {
    "Activation": "graph.layer",
    "Add": "graph.layer",
    "Architecture": "contracts.architecture",
    "arithmetic_energy": "pricing.arithmetic",
    "Attention": "graph.plain_layer",
    "Audit": "inspection.auditing",
    "audit": "inspection.auditing",
    "AveragePool": "graph.layer",
    "BadInputError": "errors",
    "Bilinear": "graph.layer",
    "Calibration": "contracts.converter",
    "ChannelPool": "graph.plain_layer",
    "ChannelShuffle": "graph.layer",
    "check_gradients": "autograd.checking",
    "Checkpoint": "contracts.format",
    "Concat": "graph.layer",
    "Constant": "graph.layer",
    "Conv": "graph.layer",
    "compare": "comparing.comparison",
    "Comparison": "comparing.comparison",
    "ConversionReport": "converting.report",
    "convert": "converting.by_name",
    "Converter": "contracts.converter",
    "convolve_spikes": "contracts.head",
    "convolve_spikes_gradient": "contracts.head",
    "Costs": "pricing.costs",
    "Curve": "inspection.anytime",
    "curve": "inspection.anytime",
    "diff": "inspection.difference",
    "Difference": "inspection.difference",
    "DifferenceError": "errors",
    "EnergyColumn": "contracts.energy",
    "EnergyModel": "contracts.energy",
    "estimate_noise": "restoration.noise",
    "evaluate": "benchmarking.evaluation",
    "Evaluation": "benchmarking.evaluation",
    "finetune": "fitting.trainer",
    "from_torch": "twin.making",
    "Format": "contracts.format",
    "FrequencySplit": "graph.plain_layer",
    "Gate": "graph.layer",
    "GlobalPool": "graph.plain_layer",
    "HDF5File": "files.guarded",
    "HDF5Node": "files.guarded",
    "Head": "contracts.head",
    "hookimpl": "contracts.markers",
    "IMAGE": "graph.layer",
    "import_checkpoint": "converting.importing",
    "Info": "model.model",
    "LayerNorm": "graph.plain_layer",
    "Leaky": "graph.plain_layer",
    "Ledger": "restoration.method",
    "load": "restoration.opening",
    "Loss": "contracts.loss",
    "LossInput": "contracts.loss",
    "mae": "images.metrics",
    "MaxPool": "graph.plain_layer",
    "memory_energy": "pricing.memory",
    "Method": "contracts.method",
    "Model": "restoration.method",
    "ModelError": "errors",
    "models": "model.shipped",
    "Multiply": "graph.plain_layer",
    "Nearest": "graph.layer",
    "Network": "graph.network",
    "Neuron": "contracts.neuron",
    "NEVER": "contracts.neuron",
    "NspikeError": "errors",
    "open_hdf5": "files.guarded",
    "operation": "autograd.tensor",
    "Option": "contracts.converter",
    "OutputError": "errors",
    "OutputLayer": "contracts.head",
    "Parameter": "contracts.neuron",
    "PixelShuffle": "graph.layer",
    "PixelUnshuffle": "graph.layer",
    "PluginError": "errors",
    "Pointwise": "graph.plain_layer",
    "Prompt": "graph.plain_layer",
    "psnr": "images.metrics",
    "quantised_energy": "pricing.quantised",
    "read_costs": "pricing.costs",
    "read_trace": "inspection.traces",
    "replay": "inspection.replaying",
    "restore": "restoration.image",
    "Result": "model.result",
    "save": "restoration.opening",
    "Scales": "contracts.converter",
    "shorten": "contracts.architecture",
    "Shrink": "graph.plain_layer",
    "Slice": "graph.layer",
    "spectral_norm": "autograd.spatial",
    "Spiking": "model.model",
    "ssim": "images.metrics",
    "StepAttention": "graph.plain_layer",
    "StepMean": "graph.plain_layer",
    "strip_shared": "contracts.architecture",
    "swap": "registry.parts",
    "take": "contracts.architecture",
    "Tensor": "autograd.tensor",
    "Trace": "inspection.traces",
    "to_torch": "twin.making",
    "trace": "inspection.tracing",
    "train": "fitting.trainer",
    "Trained": "fitting.runs",
    "UsageError": "errors",
    "verify": "inspection.auditing",
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
    from nspike.autograd.checking import check_gradients as check_gradients
    from nspike.autograd.spatial import spectral_norm as spectral_norm
    from nspike.autograd.tensor import Tensor as Tensor
    from nspike.autograd.tensor import operation as operation
    from nspike.benchmarking.evaluation import Evaluation as Evaluation
    from nspike.benchmarking.evaluation import evaluate as evaluate
    from nspike.comparing.comparison import Comparison as Comparison
    from nspike.comparing.comparison import compare as compare
    from nspike.contracts.architecture import Architecture as Architecture
    from nspike.contracts.architecture import shorten as shorten
    from nspike.contracts.architecture import strip_shared as strip_shared
    from nspike.contracts.architecture import take as take
    from nspike.contracts.converter import Calibration as Calibration
    from nspike.contracts.converter import Converter as Converter
    from nspike.contracts.converter import Option as Option
    from nspike.contracts.converter import Scales as Scales
    from nspike.contracts.energy import EnergyColumn as EnergyColumn
    from nspike.contracts.energy import EnergyModel as EnergyModel
    from nspike.contracts.format import Checkpoint as Checkpoint
    from nspike.contracts.format import Format as Format
    from nspike.contracts.head import Head as Head
    from nspike.contracts.head import OutputLayer as OutputLayer
    from nspike.contracts.head import convolve_spikes as convolve_spikes
    from nspike.contracts.head import convolve_spikes_gradient as convolve_spikes_gradient
    from nspike.contracts.loss import Loss as Loss
    from nspike.contracts.loss import LossInput as LossInput
    from nspike.contracts.markers import hookimpl as hookimpl
    from nspike.contracts.method import Method as Method
    from nspike.contracts.neuron import NEVER as NEVER
    from nspike.contracts.neuron import Neuron as Neuron
    from nspike.contracts.neuron import Parameter as Parameter
    from nspike.converting.by_name import convert as convert
    from nspike.converting.importing import import_checkpoint as import_checkpoint
    from nspike.converting.report import ConversionReport as ConversionReport
    from nspike.errors import BadInputError as BadInputError
    from nspike.errors import DifferenceError as DifferenceError
    from nspike.errors import ModelError as ModelError
    from nspike.errors import NspikeError as NspikeError
    from nspike.errors import OutputError as OutputError
    from nspike.errors import PluginError as PluginError
    from nspike.errors import UsageError as UsageError
    from nspike.files.guarded import HDF5File as HDF5File
    from nspike.files.guarded import HDF5Node as HDF5Node
    from nspike.files.guarded import open_hdf5 as open_hdf5
    from nspike.fitting.runs import Trained as Trained
    from nspike.fitting.trainer import finetune as finetune
    from nspike.fitting.trainer import train as train
    from nspike.graph.layer import IMAGE as IMAGE
    from nspike.graph.layer import Activation as Activation
    from nspike.graph.layer import Add as Add
    from nspike.graph.layer import AveragePool as AveragePool
    from nspike.graph.layer import Bilinear as Bilinear
    from nspike.graph.layer import ChannelShuffle as ChannelShuffle
    from nspike.graph.layer import Concat as Concat
    from nspike.graph.layer import Constant as Constant
    from nspike.graph.layer import Conv as Conv
    from nspike.graph.layer import Gate as Gate
    from nspike.graph.layer import Nearest as Nearest
    from nspike.graph.layer import PixelShuffle as PixelShuffle
    from nspike.graph.layer import PixelUnshuffle as PixelUnshuffle
    from nspike.graph.layer import Slice as Slice
    from nspike.graph.network import Network as Network
    from nspike.graph.plain_layer import Attention as Attention
    from nspike.graph.plain_layer import ChannelPool as ChannelPool
    from nspike.graph.plain_layer import FrequencySplit as FrequencySplit
    from nspike.graph.plain_layer import GlobalPool as GlobalPool
    from nspike.graph.plain_layer import LayerNorm as LayerNorm
    from nspike.graph.plain_layer import Leaky as Leaky
    from nspike.graph.plain_layer import MaxPool as MaxPool
    from nspike.graph.plain_layer import Multiply as Multiply
    from nspike.graph.plain_layer import Pointwise as Pointwise
    from nspike.graph.plain_layer import Prompt as Prompt
    from nspike.graph.plain_layer import Shrink as Shrink
    from nspike.graph.plain_layer import StepAttention as StepAttention
    from nspike.graph.plain_layer import StepMean as StepMean
    from nspike.images.metrics import mae as mae
    from nspike.images.metrics import psnr as psnr
    from nspike.images.metrics import ssim as ssim
    from nspike.inspection.anytime import Curve as Curve
    from nspike.inspection.anytime import curve as curve
    from nspike.inspection.auditing import Audit as Audit
    from nspike.inspection.auditing import audit as audit
    from nspike.inspection.auditing import verify as verify
    from nspike.inspection.difference import Difference as Difference
    from nspike.inspection.difference import diff as diff
    from nspike.inspection.replaying import replay as replay
    from nspike.inspection.traces import Trace as Trace
    from nspike.inspection.traces import read_trace as read_trace
    from nspike.inspection.tracing import trace as trace
    from nspike.model.model import Info as Info
    from nspike.model.model import Spiking as Spiking
    from nspike.model.result import Result as Result
    from nspike.model.shipped import models as models
    from nspike.pricing.arithmetic import arithmetic_energy as arithmetic_energy
    from nspike.pricing.costs import Costs as Costs
    from nspike.pricing.costs import read_costs as read_costs
    from nspike.pricing.memory import memory_energy as memory_energy
    from nspike.pricing.quantised import quantised_energy as quantised_energy
    from nspike.registry.parts import swap as swap
    from nspike.restoration.image import restore as restore
    from nspike.restoration.method import Ledger as Ledger
    from nspike.restoration.method import Model as Model
    from nspike.restoration.noise import estimate_noise as estimate_noise
    from nspike.restoration.opening import load as load
    from nspike.restoration.opening import save as save
    from nspike.twin.making import from_torch as from_torch
    from nspike.twin.making import to_torch as to_torch
