"""Resampling: how often each patient and each training seed is drawn in each bootstrap replicate."""

import hashlib

import numba
import numpy as np

BLOCK = 64
"""Replicates that share one random stream."""

PATIENTS, SEEDS = 0, 1


def patient_counts(patients: int, *, resamples: int, seed: int, first: int = 0) -> np.ndarray:
    """How often each patient is drawn in replicates `first` to `first + resamples`: integers (resamples, patients).

    Each replicate draws `patients` patients with replacement, so that its row is multinomial. Every 64 replicates have
    their own stream, (seed, block), so that any part of the replicates has the same counts as when all are drawn.
    """
    blocks = range(first // BLOCK, -(-(first + resamples) // BLOCK))
    drawn = [_multinomial(_stream(seed, PATIENTS, block), units=patients, rows=BLOCK) for block in blocks]
    counts = np.concatenate(drawn) if drawn else np.zeros((0, patients), np.min_scalar_type(patients))
    return counts[first % BLOCK :][:resamples]


def lanes(patients: int, *, seed: int, block: int) -> np.ndarray:
    """The counts of a block of 64 replicates as bytes (patients, 64), the same as those of `patient_counts`.

    A patient that is drawn more than 255 times in one replicate raises OverflowError.
    """
    drawn = _stream(seed, PATIENTS, block).integers(patients, size=(BLOCK, patients))
    counts = np.zeros((patients, BLOCK), np.uint8)
    if _scatter(drawn, counts):
        raise OverflowError(f"a patient of {patients} is drawn more than 255 times in one replicate")
    return counts


@numba.njit(nogil=True, cache=True, boundscheck=False)
def _scatter(drawn, counts):
    """Count the drawn patients (replicates, draws) into bytes (patients, replicates); return whether one overflowed."""
    overflow = False
    for lane in range(drawn.shape[0]):
        for at in drawn[lane]:
            overflow |= counts[at, lane] == 255
            counts[at, lane] += 1
    return overflow


def seed_counts(seeds: int, *, resamples: int, seed: int, source: str) -> np.ndarray:
    """How often each of a source's training seeds is drawn in each replicate: integers (resamples, seeds).

    The stream is keyed by the source's name, so that sources are independent and do not depend on order or number.
    """
    name = np.frombuffer(hashlib.sha256(source.encode()).digest()[:16], dtype="<u4")
    return _multinomial(_stream(seed, SEEDS, *name.tolist()), units=seeds, rows=resamples)


def over_seeds(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """A source's value in each replicate (resamples,), from its runs' values and seed counts (resamples, seeds).

    The mean over the resampled seeds, its deviation from the plain mean multiplied by sqrt(S / (S - 1)): a plain
    resample of S seeds has only (S - 1) / S of their variance, half of it for two seeds (Davison & Hinkley 1997,
    Bootstrap Methods and their Application, section 3.8). A single seed is not changed.
    """
    seeds = values.shape[1]
    plain = values.mean(axis=1)
    if seeds == 1:
        return plain
    resampled = (values * counts).sum(axis=1) / seeds
    return plain + (resampled - plain) * np.sqrt(seeds / (seeds - 1))


def _stream(seed: int, *key: int) -> np.random.Generator:
    """An independent random stream for a key."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def _multinomial(stream: np.random.Generator, *, units: int, rows: int) -> np.ndarray:
    """`rows` times the counts of `units` draws, in the smallest integer type that cannot overflow."""
    drawn = stream.integers(units, size=(rows, units))
    # an offset per row, so that one bincount counts all rows
    drawn += np.arange(rows)[:, None] * units
    counts = np.bincount(drawn.ravel(), minlength=rows * units)
    return counts.reshape(rows, units).astype(np.min_scalar_type(units))
