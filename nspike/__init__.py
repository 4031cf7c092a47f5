"""nspike: restore images with spiking neural networks on a CPU, and account for every spike.

The public names below are all that a plugin may use. They are loaded when first used, so that importing nspike is cheap.
"""

import importlib
from typing import TYPE_CHECKING, Any

from nspike.runtime.version import VERSION as __version__

_HOME = {
    "Activation": "graph.layer",
    "Architecture": "contracts.architecture",
    "Audit": "inspection.auditing",
    "BadInputError": "errors",
    "Calibration": "contracts.converter",
    "Checkpoint": "contracts.format",
    "Concat": "graph.layer",
    "Conv": "graph.layer",
    "ConversionReport": "converting.report",
    "Converter": "contracts.converter",
    "Costs": "pricing.costs",
    "Curve": "inspection.anytime",
    "Difference": "inspection.difference",
    "DifferenceError": "errors",
    "EnergyColumn": "contracts.energy",
    "EnergyModel": "contracts.energy",
    "Evaluation": "benchmarking.evaluation",
    "Format": "contracts.format",
    "Gate": "graph.layer",
    "HDF5File": "files.guarded",
    "HDF5Node": "files.guarded",
    "Head": "contracts.head",
    "Info": "model.model",
    "Ledger": "restoration.method",
    "Loss": "contracts.loss",
    "Model": "restoration.method",
    "ModelError": "errors",
    "NEVER": "contracts.neuron",
    "Network": "graph.network",
    "Neuron": "contracts.neuron",
    "NspikeError": "errors",
    "Option": "contracts.converter",
    "OutputError": "errors",
    "OutputLayer": "contracts.head",
    "IMAGE": "graph.layer",
    "Parameter": "contracts.neuron",
    "PluginError": "errors",
    "Result": "model.result",
    "Scales": "contracts.converter",
    "Spiking": "model.model",
    "Tensor": "autograd.tensor",
    "Trace": "inspection.traces",
    "Trained": "fitting.runs",
    "UsageError": "errors",
    "arithmetic_energy": "pricing.arithmetic",
    "audit": "inspection.auditing",
    "check_gradients": "autograd.checking",
    "convert": "converting.by_name",
    "convolve_spikes": "contracts.head",
    "convolve_spikes_gradient": "contracts.head",
    "curve": "inspection.anytime",
    "diff": "inspection.difference",
    "estimate_noise": "restoration.noise",
    "evaluate": "benchmarking.evaluation",
    "finetune": "fitting.trainer",
    "hookimpl": "contracts.markers",
    "import_checkpoint": "converting.importing",
    "load": "restoration.opening",
    "memory_energy": "pricing.memory",
    "models": "model.shipped",
    "open_hdf5": "files.guarded",
    "operation": "autograd.tensor",
    "psnr": "images.metrics",
    "quantised_energy": "pricing.quantised",
    "read_costs": "pricing.costs",
    "read_trace": "inspection.traces",
    "replay": "inspection.replaying",
    "restore": "restoration.image",
    "save": "restoration.opening",
    "shorten": "contracts.architecture",
    "spectral_norm": "autograd.spatial",
    "ssim": "images.metrics",
    "strip_shared": "contracts.architecture",
    "swap": "registry.parts",
    "take": "contracts.architecture",
    "trace": "inspection.tracing",
    "train": "fitting.trainer",
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
    from nspike.contracts.markers import hookimpl as hookimpl
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
    from nspike.graph.layer import Concat as Concat
    from nspike.graph.layer import Conv as Conv
    from nspike.graph.layer import Gate as Gate
    from nspike.graph.network import Network as Network
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
