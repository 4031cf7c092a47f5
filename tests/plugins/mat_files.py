"""Writes MatConvNet networks as MATLAB does: version 7.3 with h5py, version 5 with SciPy."""

import h5py
import numpy as np
from scipy.io import savemat


def hdf5_order(weight):
    """PyTorch's OIHW as it lies in HDF5, (out, in, W, H), the last MATLAB axes dropped where they are 1."""
    seen = weight.swapaxes(2, 3)
    while seen.ndim > 2 and seen.shape[0] == 1:
        seen = seen[0]
    return seen


def write_v73(path, layers, *, old_fields=False, **options):
    """Layers are (type, arrays as they lie in HDF5); None is MATLAB's []."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs, net = file.create_group("#refs#"), file.create_group("net")
        count = 0

        def hold(array):
            nonlocal count
            count += 1
            if array is None:
                dataset = refs.create_dataset(f"v{count}", data=np.zeros(2, np.uint64))
                dataset.attrs["MATLAB_empty"] = np.uint8(1)
            else:
                dataset = refs.create_dataset(f"v{count}", data=array, **options)
            return dataset

        def cell(group, name, things):
            data = np.empty((len(things), 1), h5py.ref_dtype)
            data[:, 0] = [thing.ref for thing in things]
            group.create_dataset(name, data=data, dtype=h5py.ref_dtype)

        structures = []
        for index, (kind, arrays) in enumerate(layers):
            structure = refs.create_group(f"layer{index}")
            structure["type"] = np.array([[ord(letter)] for letter in kind], np.uint16)
            structure["stride"] = np.ones((1, 1))
            if old_fields and kind == "conv":
                structure["filters"], structure["biases"] = arrays
            elif arrays:
                cell(structure, "weights", [hold(array) for array in arrays])
            structures.append(structure)
        cell(net, "layers", structures)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02" + b"IM")
    return path


def write_v5(path, layers, **options):
    """Layers as for `write_v73`."""
    cell = np.empty((1, len(layers)), object)
    for index, (kind, arrays) in enumerate(layers):
        structure = {"type": kind, "stride": 1.0}
        if arrays:
            weights = np.empty((1, len(arrays)), object)
            for j, array in enumerate(arrays):
                weights[0, j] = np.zeros((0, 0)) if array is None else np.asarray(array).T
            structure["weights"] = weights
        cell[0, index] = structure
    savemat(path, {"net": {"layers": cell}, "other": np.ones(3)}, **options)
    return path
