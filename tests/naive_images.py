"""Structural similarity by its definition."""


def blur(plane, weights):
    """The weighted means (H, W) -> (H - n + 1, W - n + 1) over windows, down and then across, added in their order."""
    for axis in (0, 1):
        length = plane.shape[axis] - len(weights) + 1
        total = 0.0
        for start, weight in enumerate(weights):
            total = total + weight * plane.take(range(start, start + length), axis)
        plane = total
    return plane


def similarities(a, b, weights, correction, c1, c2):
    """The structural similarity of each window of two planes."""
    ma, mb = blur(a, weights), blur(b, weights)
    variances = correction * (blur(a * a, weights) - ma * ma) + correction * (blur(b * b, weights) - mb * mb)
    covariance = correction * (blur(a * b, weights) - ma * mb)
    return (2 * ma * mb + c1) * (2 * covariance + c2) / ((ma * ma + mb * mb + c1) * (variances + c2))
