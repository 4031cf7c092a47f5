"""Automatic differentiation, as much of it as restoring networks need. See `nspike.autograd.tensor`."""

from nspike.autograd.activation import clipped_relu as clipped_relu
from nspike.autograd.activation import qcfs as qcfs
from nspike.autograd.activation import relu as relu
from nspike.autograd.activation import sigmoid as sigmoid
from nspike.autograd.checking import check_gradients as check_gradients
from nspike.autograd.convolve import conv2d as conv2d
from nspike.autograd.spatial import interpolate as interpolate
from nspike.autograd.spatial import pixel_shuffle as pixel_shuffle
from nspike.autograd.spatial import pixel_unshuffle as pixel_unshuffle
from nspike.autograd.spatial import spectral_norm as spectral_norm
from nspike.autograd.tensor import Tensor as Tensor
from nspike.autograd.tensor import absolute as absolute
from nspike.autograd.tensor import add as add
from nspike.autograd.tensor import attach as attach
from nspike.autograd.tensor import concatenate as concatenate
from nspike.autograd.tensor import divide as divide
from nspike.autograd.tensor import mean as mean
from nspike.autograd.tensor import multiply as multiply
from nspike.autograd.tensor import operation as operation
from nspike.autograd.tensor import record as record
from nspike.autograd.tensor import reshape as reshape
from nspike.autograd.tensor import square as square
from nspike.autograd.tensor import square_root as square_root
from nspike.autograd.tensor import subtract as subtract
from nspike.autograd.tensor import take as take
from nspike.autograd.tensor import total as total
