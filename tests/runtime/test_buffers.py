"""The pool never hands out memory that somebody still looks at."""

import numpy as np

from differseg.runtime.buffers import BufferPool


def address(array):
    return array.__array_interface__["data"][0]


def test_free_buffers_are_used_again():
    pool = BufferPool()
    first = address(pool.take((4, 4), np.uint8))
    assert all(address(pool.take((4, 4), np.uint8)) == first for _ in range(10))


def test_held_buffers_are_not():
    pool = BufferPool(limit=3)
    held = [pool.take((4, 4), np.uint8) for _ in range(6)]
    assert len({address(array) for array in held}) == 6
    wanted = address(held[1])
    del held[1]
    assert address(pool.take((4, 4), np.uint8)) == wanted


def test_a_view_holds_its_buffer():
    pool = BufferPool()
    view = pool.take((4, 4), np.uint8)[1:3, 1:3]
    nested = view[:1]
    del view
    assert not np.shares_memory(pool.take((4, 4), np.uint8), nested)


def test_another_format():
    pool = BufferPool()
    pool.take((4, 4), np.uint8)
    other = pool.take((2, 4), np.uint16)
    assert other.shape == (2, 4)
    assert other.dtype == np.uint16
