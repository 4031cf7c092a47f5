"""The one table from a kind of layer that makes a current to what training does with it: a module of functions for each."""

from collections.abc import Mapping

from nspike.graph.layer import Conv, Gate
from nspike.trainable import convolution, gate
from nspike.trainable.written import Kind

KINDS: Mapping[type, Kind] = {Conv: convolution, Gate: gate}
