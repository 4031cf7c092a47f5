"""3×3 convolution in float32 by Winograd's F(4×4, 3×3), and the gradient of its kernel. For training; no spike is decided here.

Lavin and Gray 2016 (arXiv 1509.09308): with d a 6×6 tile of the input, w the kernel and g a 4×4 tile of the output,

    g = Aᵀ[(G w Gᵀ) ⊙ (Bᵀ d B)]A;     ∂w = Gᵀ[(A ∂g Aᵀ) ⊙ (Bᵀ d B)]G

so that a tile takes 36 products instead of 144 for each pair of channels. The products of all tiles at one of the 36
positions are a matrix product, over channels for the convolution and over tiles for the gradient. Images are rows of
channels (y, x, channel), a multiple of `LANES` of them. The order of every sum is fixed by how the work is cut.
"""

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from nspike.kernels._jit import INTERPRETED, inline, kernel

_FLOAT = ir.FloatType()
LANES = 16 if llvm.get_host_cpu_features().get("avx512f") else 8
ROWS, COLUMNS = 6, 2 * LANES
"""A block of sums: twelve vector registers."""
TILE, PATCH = 4, 6

INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    np.float64,
)
"""Bᵀ."""
KERNEL = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
"""G."""
OUTPUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], np.float64)
"""Aᵀ."""


def _make_transform(matrix):
    vector = ir.VectorType(_FLOAT, LANES)

    @intrinsic
    def transform(typingctx, source, at, stride, target, to, step, channels):
        signature = types.void(source, types.intp, types.intp, target, types.intp, types.intp, types.intp)

        def codegen(context, builder, signature, args):
            _, at, stride, _, to, step, channels = args

            def pointers(i, first, size, count):
                data = context.make_array(signature.args[i])(context, builder, args[i]).data
                return [
                    builder.gep(data, [builder.add(first, builder.mul(size, ir.Constant(size.type, n)))])
                    for n in range(count)
                ]

            sources = pointers(0, at, stride, matrix.shape[1])
            targets = pointers(3, to, step, matrix.shape[0])
            lanes = ir.Constant(channels.type, LANES)
            with cgutils.for_range(builder, builder.sdiv(channels, lanes)) as loop:
                first = builder.mul(loop.index, lanes)
                read = []
                for pointer in sources:
                    value = builder.load(builder.bitcast(builder.gep(pointer, [first]), vector.as_pointer()))
                    value.align = 4
                    read.append(value)
                for row, pointer in zip(matrix, targets, strict=True):
                    total = _combine(builder, row, read, vector)
                    builder.store(total, builder.bitcast(builder.gep(pointer, [first]), vector.as_pointer())).align = 4
            return context.get_dummy_value()

        return signature, codegen

    return transform


def _combine(builder, row, read, vector):
    """Σ row[j]·read[j]; the coefficients ±1 cost no product."""
    total = None
    for factor, value in sorted(zip(row, read, strict=True), key=lambda pair: pair[0] != 1):
        if factor == 0:
            continue
        if total is None:
            total = value if factor == 1 else builder.fmul(value, ir.Constant(vector, [factor] * LANES))
        elif abs(factor) == 1:
            total = (builder.fadd if factor > 0 else builder.fsub)(total, value)
        else:
            term = builder.fmul(value, ir.Constant(vector, [factor] * LANES), flags=("contract",))
            total = builder.fadd(total, term, flags=("contract",))
    return total


def _python_transform(matrix):
    def transform(source, at, stride, target, to, step, channels):
        rows = np.stack([source[at + j * stride : at + j * stride + channels] for j in range(matrix.shape[1])])
        for i, row in enumerate(matrix):
            target[to + i * step : to + i * step + channels] = row.astype(np.float32) @ rows

    return transform


def _make_multiply(adds):
    vector = ir.VectorType(_FLOAT, LANES)

    @intrinsic
    def multiply(typingctx, a, at, row, step, b, first, pitch, length, c, to, width):
        signature = types.void(
            a, types.intp, types.intp, types.intp, b, types.intp, types.intp, types.intp, c, types.intp, types.intp
        )

        def codegen(context, builder, signature, args):
            _, at, row, step, _, first, pitch, length, _, to, width = args

            def data(i, offset):
                return builder.gep(context.make_array(signature.args[i])(context, builder, args[i]).data, [offset])

            def constant(n):
                return ir.Constant(length.type, n)

            def load(pointer):
                value = builder.load(builder.bitcast(pointer, vector.as_pointer()))
                value.align = 4
                return value

            lefts = [data(0, builder.add(at, builder.mul(row, constant(p)))) for p in range(ROWS)]
            right = data(4, first)
            targets = [
                data(8, builder.add(to, builder.add(builder.mul(width, constant(p)), constant(n * LANES))))
                for p in range(ROWS)
                for n in range(2)
            ]
            zero = ir.Constant(vector, None)
            sums = [cgutils.alloca_once_value(builder, load(target) if adds else zero) for target in targets]
            undefined = ir.Constant(vector, ir.Undefined)
            first_lane = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
            with cgutils.for_range(builder, length) as loop:
                values = builder.gep(right, [builder.mul(loop.index, pitch)])
                columns = [load(values), load(builder.gep(values, [constant(LANES)]))]
                offset = builder.mul(loop.index, step)
                for p, left in enumerate(lefts):
                    scalar = builder.load(builder.gep(left, [offset]))
                    one = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
                    spread = builder.shuffle_vector(one, undefined, first_lane)
                    for n in range(2):
                        total = sums[2 * p + n]
                        term = builder.fmul(spread, columns[n], flags=("contract",))
                        builder.store(builder.fadd(builder.load(total), term, flags=("contract",)), total)
            for target, total in zip(targets, sums, strict=True):
                builder.store(builder.load(total), builder.bitcast(target, vector.as_pointer())).align = 4
            return context.get_dummy_value()

        return signature, codegen

    return multiply


def _python_multiply(adds):
    def multiply(a, at, row, step, b, first, pitch, length, c, to, width):
        right = np.stack([b[first + j * pitch : first + j * pitch + COLUMNS] for j in range(length)])
        for p in range(ROWS):
            start = at + p * row
            total = a[start : start + (length - 1) * step + 1 : step] @ right
            target = c[to + p * width : to + p * width + COLUMNS]
            target[:] = target + total if adds else total

    return multiply


transform_input, transform_kernel_gradient, transform_output, transform_gradient = (
    (_python_transform if INTERPRETED else _make_transform)(matrix)
    for matrix in (INPUT, KERNEL.T.copy(), OUTPUT, OUTPUT.T.copy())
)
"""(source, at, stride, target, to, step, channels), flat float32: for each of `channels` lanes, a multiple of `LANES`,
target[to + i·step] = Σ_j matrix[i, j]·source[at + j·stride]."""
multiply = (_python_multiply if INTERPRETED else _make_multiply)(False)
"""(a, at, row, step, b, first, pitch, length, c, to, width), flat float32: for p < ROWS and n < COLUMNS,
c[to + p·width + n] = Σ_j a[at + p·row + j·step]·b[first + j·pitch + n]."""
multiply_add = (_python_multiply if INTERPRETED else _make_multiply)(True)


@inline
def _patches(strip, y, width, tiles, channels, scratch, out, position):
    """Bᵀ d B of a row of tiles; strip flat (rows, width, channels), its row 4·y being the first of the patches."""
    for i in range(tiles):
        at = (TILE * y * width + TILE * i) * channels
        for x in range(PATCH):
            transform_input(
                strip, at + x * channels, width * channels, scratch, x * channels, PATCH * channels, channels
            )
        for r in range(PATCH):
            to = (r * PATCH * position + y * tiles + i) * channels
            transform_input(scratch, r * PATCH * channels, channels, out, to, position * channels, channels)


@inline
def _fill(strip, images, n, top, height, width, channels, rows, columns):
    """Copy rows top .. top+rows of an image, zeros outside it and a column of zeros at the left."""
    line = columns * channels
    for r in range(rows):
        y = top + r
        if y < 0 or y >= height:
            strip[r * line : (r + 1) * line] = np.float32(0)
            continue
        first = ((n * height + y) * width) * channels
        strip[r * line : r * line + channels] = np.float32(0)
        strip[r * line + channels : r * line + (width + 1) * channels] = images[first : first + width * channels]
        strip[r * line + (width + 1) * channels : (r + 1) * line] = np.float32(0)


@inline
def _unpack(strip, words, bytes_table, n, top, height, width, pad, step, channels, rows, columns):
    """The same from packed spikes uint64 (N, rows, columns, steps, words)."""
    line = columns * channels
    for r in range(rows):
        y = top + r
        for x in range(columns):
            to = r * line + x * channels
            inside = 0 <= y < height and 1 <= x <= width
            for w in range((channels + 63) // 64):
                word = words[n, y + pad, x - 1 + pad, step, w] if inside else np.uint64(0)
                for b in range(min(8, (channels - 64 * w) // 8)):
                    byte = np.intp((word >> np.uint64(8 * b)) & np.uint64(255))
                    at = to + w * 64 + b * 8
                    eight = strip[at : at + 8]
                    for c in range(8):
                        eight[c] = bytes_table[byte, c]


@kernel
def convolve(images, size, kernels, bias, first, last, block, out):
    """Convolve images first .. last-1: out[n, y, x, o] = bias[o] + Σ kernel·images, in place.

    images flat float32 (N, H, W, C), size (H, W, C, C_out); kernels flat float32 (36, C, C_out): `transformed`; bias (C_out,);
    block: how many rows of tiles at a time; out flat (N, H, W, C_out).
    """
    height, width, channels, kept = size
    tiles = (width + TILE - 1) // TILE
    columns = TILE * tiles + 2
    position = (block * tiles + ROWS - 1) // ROWS * ROWS
    strip = np.empty((TILE * block + 2) * columns * channels, np.float32)
    scratch = np.empty(PATCH * PATCH * max(channels, kept), np.float32)
    patches = np.zeros(PATCH * PATCH * position * channels, np.float32)
    sums = np.empty(PATCH * PATCH * position * kept, np.float32)
    result = np.empty(TILE * TILE * kept, np.float32)
    for n in range(first, last):
        for top in range(0, height, TILE * block):
            rows = min(block, (height - top + TILE - 1) // TILE)
            _fill(strip, images, n, top - 1, height, width, channels, TILE * rows + 2, columns)
            for y in range(rows):
                _patches(strip, y, columns, tiles, channels, scratch, patches, position)
            for s in range(PATCH * PATCH):
                for o in range(0, kept, COLUMNS):
                    for i in range(0, rows * tiles, ROWS):
                        at = (s * position + i) * channels
                        to = (s * position + i) * kept + o
                        multiply(
                            patches, at, channels, 1, kernels, s * channels * kept + o, kept, channels, sums, to, kept
                        )
            for y in range(rows):
                for i in range(tiles):
                    _result(sums, y * tiles + i, position, kept, scratch, result)
                    _store(result, bias, out, n, top + TILE * y, TILE * i, height, width, kept)


@inline
def _result(sums, tile, position, kept, scratch, result):
    """Aᵀ m A of one tile."""
    for x in range(PATCH):
        at = (x * position + tile) * kept
        transform_output(sums, at, PATCH * position * kept, scratch, x * kept, PATCH * kept, kept)
    for r in range(TILE):
        transform_output(scratch, r * PATCH * kept, kept, result, r * TILE * kept, kept, kept)


@inline
def _store(result, bias, out, n, top, left, height, width, kept):
    for r in range(min(TILE, height - top)):
        for x in range(min(TILE, width - left)):
            to = ((n * height + top + r) * width + left + x) * kept
            at = (r * TILE + x) * kept
            into, found = out[to : to + kept], result[at : at + kept]
            for c in range(kept):
                into[c] = found[c] + bias[c]


@kernel
def kernel_gradient(images, words, bytes_table, pad, steps, size, gradient, first, last, block, sums):
    """Add to sums flat float32 (36, C padded to ROWS, C_out) what images first .. last-1 give of (A ∂g Aᵀ) ⊙ (Bᵀ d B).

    images flat float32 (N, H, W, C); or empty, and then words uint64 (M, rows, columns, steps, words) with `pad` of zeros
    around, image n being image n % M at step steps + n // M; bytes_table float32 (256, 8): the bits of a byte.
    size (H, W, C, C_out); gradient flat float32 (N, H, W, C_out).
    """
    height, width, channels, kept = size
    tiles = (width + TILE - 1) // TILE
    columns = TILE * tiles + 2
    position = block * tiles
    padded = (channels + ROWS - 1) // ROWS * ROWS
    strip = np.empty((TILE * block + 2) * columns * channels, np.float32)
    other = np.empty((TILE * block + 2) * columns * kept, np.float32)
    scratch = np.empty(PATCH * PATCH * max(channels, kept), np.float32)
    patches = np.zeros(PATCH * PATCH * position * channels + ROWS, np.float32)
    spread = np.empty(PATCH * PATCH * position * kept, np.float32)
    for n in range(first, last):
        for top in range(0, height, TILE * block):
            rows = min(block, (height - top + TILE - 1) // TILE)
            if images.size:
                _fill(strip, images, n, top - 1, height, width, channels, TILE * rows + 2, columns)
            else:
                image, step = n % words.shape[0], steps + n // words.shape[0]
                _unpack(
                    strip,
                    words,
                    bytes_table,
                    image,
                    top - 1,
                    height,
                    width,
                    pad,
                    step,
                    channels,
                    TILE * rows + 2,
                    columns,
                )
            _fill(other, gradient, n, top, height, width, kept, TILE * rows, columns)
            for y in range(rows):
                _patches(strip, y, columns, tiles, channels, scratch, patches, position)
                for i in range(tiles):
                    at = (TILE * y * columns + TILE * i + 1) * kept
                    for x in range(TILE):
                        transform_gradient(other, at + x * kept, columns * kept, scratch, x * kept, TILE * kept, kept)
                    for r in range(PATCH):
                        to = (r * PATCH * position + y * tiles + i) * kept
                        transform_gradient(scratch, r * TILE * kept, kept, spread, to, position * kept, kept)
            for s in range(PATCH * PATCH):
                for o in range(0, kept, COLUMNS):
                    for c in range(0, channels, ROWS):
                        at = s * position * channels + c
                        right = s * position * kept + o
                        to = (s * padded + c) * kept + o
                        multiply_add(patches, at, 1, channels, spread, right, kept, rows * tiles, sums, to, kept)


BITS = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little").astype(np.float32)
"""What `kernel_gradient` needs to unpack spikes."""
