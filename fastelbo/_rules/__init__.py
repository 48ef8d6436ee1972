"""The rules of arguments: dtype, shape, axis, weight, where, wrt, out, overlap, domain; all of them here.

`loss.evaluate` applies them in order to one loss, `elbo.evaluate` to two at once, then the core runs. No
full-size copy is made: the core sees *views* of one common shape, row axes first, event axes last, with
stride 0 along every axis an argument is broadcast over. Calls on plain equal arrays never come here: the
core's fast door takes them.
"""
