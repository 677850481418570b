"""Defining formulas at 60 digits and their derivatives by differences, in mpmath: what gradients are compared with.

Nothing here uses the package: matrices are mpmath's, functions of symmetric matrices go through its eigensystems,
exponentials through its Taylor series, and every derivative is a central difference with a step of 1e-15, whose
error is about 1e-30.
"""

import mpmath
import torch

mp = mpmath.mp.clone()
mp.dps = 60
STEP = mp.mpf(10) ** -15
FINE_STEP = mp.mpf(10) ** -22  # for a derivative inside of another one


def lift(t):
    """A tensor's numbers, exactly; a vector becomes a column."""
    return mp.matrix(t.tolist())


def lower(m, dtype=torch.float64):
    """The nearest tensor."""
    return torch.tensor([[float(m[i, j]) for j in range(m.cols)] for i in range(m.rows)], dtype=dtype)


def dot(a, b):
    return mp.fsum(x * y for x, y in zip(a, b, strict=True))


def central(f, step=STEP):
    """(f(h) - f(-h)) / 2h of a matrix or number."""
    return (f(step) - f(-step)) / (2 * step)


def spectral(f, a):
    values, vectors = mp.eigsy(a)
    return vectors * mp.diag([f(v) for v in values]) * vectors.T


def logm(a):
    return spectral(mp.log, a)


def expm(a):
    return spectral(mp.exp, a)


def sqrtm(a):
    return spectral(mp.sqrt, a)


def trace(a):
    return mp.fsum(a[i, i] for i in range(a.rows))


def lower_half(a, diagonal):
    """Strictly lower part of a matrix plus ``diagonal`` of its diagonal entries."""
    return mp.matrix(
        [[a[i, j] if i > j else diagonal(a[i, i]) if i == j else 0 for j in range(a.cols)] for i in range(a.rows)]
    )


class AffineInvariant:
    """Pennec, Fillard and Ayache 2006."""

    @staticmethod
    def whitened(x, y):
        factor = mp.cholesky(x)
        inverse = mp.inverse(factor)
        return factor, inverse * y * inverse.T

    def dist2(self, x, y):
        return mp.fsum(mp.log(v) ** 2 for v in mp.eigsy(self.whitened(x, y)[1], eigvals_only=True))

    def logmap(self, x, y):
        factor, middle = self.whitened(x, y)
        return factor * logm(middle) * factor.T

    def expmap(self, x, u):
        factor, middle = self.whitened(x, u)
        return factor * expm(middle) * factor.T


class LogEuclidean:
    """Arsigny et al. 2007."""

    def dist2(self, x, y):
        difference = logm(y) - logm(x)
        return dot(difference, difference)

    def logmap(self, x, y):
        a, b = logm(x), logm(y)
        return central(lambda h: expm(a + h * (b - a)), FINE_STEP)

    def expmap(self, x, u):
        return expm(logm(x) + central(lambda h: logm(x + h * u), FINE_STEP))


class LogCholesky:
    """Lin 2019."""

    @staticmethod
    def coordinates(x):
        return lower_half(mp.cholesky(x), mp.log)

    def dist2(self, x, y):
        difference = self.coordinates(y) - self.coordinates(x)
        return dot(difference, difference)

    def logmap(self, x, y):
        a, b = self.coordinates(x), self.coordinates(y)

        def along(h):
            factor = lower_half(a + h * (b - a), mp.exp)
            return factor * factor.T

        return central(along, FINE_STEP)

    def expmap(self, x, u):
        velocity = central(lambda h: self.coordinates(x + h * u), FINE_STEP)
        factor = lower_half(self.coordinates(x) + velocity, mp.exp)
        return factor * factor.T


class BuresWasserstein:
    """Bhatia, Jain and Lim 2019."""

    def dist2(self, x, y):
        root = sqrtm(x)
        return trace(x) + trace(y) - 2 * trace(sqrtm(root * y * root))

    def logmap(self, x, y):
        root = sqrtm(x)
        inverse = mp.inverse(root)
        cross = root * sqrtm(root * y * root) * inverse
        return cross + cross.T - 2 * x

    def expmap(self, x, u):
        """(1 + g) x (1 + g) with x g + g x = u, solved in the eigenbasis of x."""
        values, vectors = mp.eigsy(x)
        turned = vectors.T * u * vectors
        n = range(x.rows)
        g = vectors * mp.matrix([[turned[i, j] / (values[i] + values[j]) for j in n] for i in n]) * vectors.T
        return x + u + g * x * g


METRICS = {
    "affine-invariant": AffineInvariant(),
    "log-euclidean": LogEuclidean(),
    "log-cholesky": LogCholesky(),
    "bures-wasserstein": BuresWasserstein(),
}


def symmetric_basis(n):
    """(n (n + 1) / 2, n, n): the directions in which symmetric matrices move."""
    basis = []
    for i in range(n):
        for j in range(i + 1):
            e = torch.zeros(n, n, dtype=torch.float64)
            e[i, j] = e[j, i] = 1.0
            basis.append(e)
    return torch.stack(basis)


def matrix_exponential(a):
    """By scaling, mpmath's Taylor series and squaring."""
    return mp.expm(a)


def differential_of_exponential(a, basis):
    """Matrices d/dh exp(a + h e) exp(-a) for every e of the basis."""
    back = matrix_exponential(-a)
    return [central(lambda h, e=e: matrix_exponential(a + h * e)) * back for e in basis]


def differential_of_logarithm(a, basis, directions):
    """Matrices d/dh log(exp(h w) exp(a)) for every w, the logarithm being the inverse of exp near a.

    Args:
        basis: of the Lie algebra, in which the differential of exp is a matrix to invert.
    """
    columns = differential_of_exponential(a, basis)
    gram = mp.matrix([[dot(e, c) for c in columns] for e in basis])
    found = []
    for w in directions:
        coordinates = mp.lu_solve(gram, mp.matrix([dot(e, w) for e in basis]))
        found.append(sum((c * e for c, e in zip(coordinates, basis, strict=True)), mp.zeros(a.rows)))
    return found


def on_sphere(x):
    return x / mp.sqrt(dot(x, x))


def sphere_angle(x, y):
    """Between unit vectors, without cancellation at 0 and pi (Kahan 2006)."""
    return 2 * mp.atan2(mp.norm(x - y), mp.norm(x + y))


def sphere_logmap(x, y):
    across = y - dot(x, y) * x
    length = mp.norm(across)
    return across * (sphere_angle(x, y) / length) if length else across
