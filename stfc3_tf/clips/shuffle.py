"""A shuffled order whose elements are computed one by one, without a table of any size.

A Feistel network permutes the cells of a grid of rows x columns with at least as many cells as
there are elements. Each round adds a hash of a cell's row to its column or the reverse. Subtracting
the same hash undoes the round, so that every round is a permutation, whatever the hash. Where the
result is a cell beyond the last element, it is permuted again until it is an element ("cycle
walking").
J. Black and P. Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002.

This is good enough to spread clips evenly, not for cryptography.
"""

import math

# Two rounds change row and column once; small sets need more rounds for an even shuffle.
_ROUNDS = 8
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio, odd.


def shuffled(place: int, size: int, key: int) -> int:
    """Return the element at a place of a shuffled order of 0 ... size - 1.

    Args:
      place: in 0 ... size - 1.
      size: number of elements.
      key: in 0 ... 2^64 - 1; each key gives another order.

    Returns:
      The element. Each element is at exactly one place.

    Raises:
      ValueError: `place` is out of its range.
    """
    if not 0 <= place < size:
        raise ValueError(f'place={place} is not in 0 ... {size - 1}.')
    rows = math.isqrt(size - 1) + 1
    columns = -(-size // rows)
    element = _permuted(place, rows, columns, key)
    while element >= size:
        element = _permuted(element, rows, columns, key)
    return element


def _permuted(cell: int, rows: int, columns: int, key: int) -> int:
    column, row = divmod(cell, rows)
    for _ in range(_ROUNDS // 2):
        key = (key + _GOLDEN) & _MASK
        row = (row + _hash(_hash(key) ^ column)) % rows
        key = (key + _GOLDEN) & _MASK
        column = (column + _hash(_hash(key) ^ row)) % columns
    return column * rows + row


def _hash(value: int) -> int:
    """Mix 64 bits: the output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31
