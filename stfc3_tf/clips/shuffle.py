"""A shuffled order that is computed place by place: no table, however many elements.

A Feistel network permutes the cells of a grid of rows x columns that has at least as many cells as
there are elements; its halves are a cell's row and column, and what a round adds to one of them is a
hash of the other, so that subtracting it undoes the round, whatever the hash. Where a place ends on a
cell that is no element, it goes on from there until it meets one ("cycle walking"). J. Black and
P. Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002.

To spread clips evenly, not to keep secrets.
"""

import math

# Two change both halves once; the order of a handful of elements is even only after some more.
_ROUNDS = 8
_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio, odd.


def shuffled(place: int, size: int, key: int) -> int:
    """The element at a place of a shuffled order of 0 ... size - 1.

    Args:
      place: in 0 ... size - 1.
      size: how many elements there are.
      key: in 0 ... 2^64 - 1, which of the orders.

    Returns:
      The element; each is at exactly one place.

    Raises:
      ValueError: there is no such place.
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
    """Mixes 64 bits: the output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31
