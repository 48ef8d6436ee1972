# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, binding=False
"""From Python objects to the kernels: fast doors for plain arrays, and `prepare` for the views that the rules make of all others.

A fast door looks at its arguments through NumPy's C API and takes the call if they are what most callers pass: C-contiguous
arrays of one dtype and shape, the last axis summed, nothing unusual asked for. It decides nothing: where anything is different, or
wrong, the rules get the same arguments, and their word is the law. What they found of a call is kept: a later one that is like it, in
types, shapes, strides and options (`likeness`), goes straight to the kernels, and whatever depends on numbers or addresses is looked at anew.
"""

import os

import numpy as np
cimport numpy as cnp
from cpython.object cimport PyObject
from cpython.mem cimport PyMem_Calloc, PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.math cimport INFINITY, NAN, copysign, fabs, frexp, ldexp
from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.string cimport memcmp, memcpy

cnp.import_array()

SCALES = ("var", "std", "logvar", "logstd", "precision")

# Below this many elements a second thread costs more than it saves: waking it takes microseconds, and beside a busy
# neighbour a region may wait for a time slice.
DEF PARALLEL_FROM = 1 << 17
# Below this many, a few microseconds at most, letting other Python threads run would cost more than it gives.
DEF ALONE_BELOW = 1 << 12

include "core/kernels.pxi"

cdef const kernel_set *kernels = NULL
cdef const fe_openmp_table *openmp = NULL
cdef object float32 = np.float32, float64 = np.float64
cdef object new = tuple.__new__  # of a named tuple, whose own goes through the interpreter

include "core/machine.pxi"
include "core/results.pxi"
include "core/run.pxi"
include "core/outline.pxi"
include "core/general.pxi"
include "core/likeness.pxi"
include "core/door.pxi"
include "core/elbo.pxi"
include "core/entry.pxi"
include "core/memory.pxi"
include "core/latents.pxi"
include "core/objectives.pxi"
include "core/optimal.pxi"
include "core/optimal_door.pxi"


def elementary(str name, cnp.ndarray x):
    """exp, log, expm1 or log1p as the kernels compute them, of a contiguous float32 or float64 array: for the tests."""
    cdef cnp.ndarray y = cnp.PyArray_EMPTY(1, cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)
    cdef int which = ("exp", "log", "expm1", "log1p").index(name)
    cdef ptrdiff_t n = cnp.PyArray_SIZE(x)
    if not (regular(x, cnp.NPY_FLOAT32) or regular(x, cnp.NPY_FLOAT64)) or cnp.PyArray_NDIM(x) != 1:
        raise TypeError("x must be a contiguous 1-D array of float32 or float64")
    cdef const void *source = cnp.PyArray_DATA(x)
    cdef void *target = cnp.PyArray_DATA(y)
    cdef int is_double = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT64
    with nogil:
        kernels.function[is_double](which, source, target, n)
    return y
