"""Weights that layers share: an optimizer sees each once, with the sum of its gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnext._support import Array, find_shared

Merged = list[tuple[int, list[tuple[int, bool]]]]


def remove_duplicate(
    params: Sequence[Array], grads: Sequence[Array]
) -> tuple[list[Array], list[Array]]:
    """Sum the gradients of a weight that layers share into the first one's; leave out the others.

    `Trainer` and `nnext.step.Step` do it in each step. It is here for loops of one's own, as in the
    book's ``common/trainer.py``. Shared is what has one memory: the same array, or a transposed
    view of it (the book takes any matrix that equals the transpose of another for shared).

    Parameters
    ----------
    params, grads : sequence of ndarray
        Those of a model, of pairwise equal shapes. The gradients of shared weights are added up in
        the first array, so that this is called once after each ``backward``.

    Returns
    -------
    params, grads : list of ndarray
        New lists of the same arrays, without those that stand there again.

    Raises
    ------
    ValueError
        If there is not one gradient for each parameter, of its shape. Nothing has changed then.

    Examples
    --------
    >>> import numpy as np
    >>> from nnext.trainer import remove_duplicate
    >>> W = np.zeros((2, 3))
    >>> params, grads = remove_duplicate([W, W.T], [np.ones((2, 3)), np.ones((3, 2))])
    >>> len(params), grads[0][0, 0].item()
    (1, 2.0)
    """
    if [np.shape(p) for p in params] != [np.shape(g) for g in grads]:
        raise ValueError(
            f"grads: expected one for each of the {len(params)} params, of its shape, got "
            f"{len(grads)}: {', '.join(str(np.shape(g)) for g in grads)}"
        )
    own, merged = plan(params, grads)
    add_shared(grads, merged)
    return [params[i] for i in own], [grads[i] for i in own]


def plan(params: Sequence[Array], grads: Sequence[Array]) -> tuple[list[int], Merged]:
    """Say which parameters the optimizer sees, and which gradients are added to which before."""
    shared = find_shared(params)
    own = [i for i, (first, _) in enumerate(shared) if first == i]
    # A model may gather gradients of a shared weight itself, in one array: it counts once.
    grad = [first for first, _ in find_shared(grads)]
    counted = {(i, grad[i]) for i in own}
    merged: dict[int, list[tuple[int, bool]]] = {}
    for i, (first, transposed) in enumerate(shared):
        if (first, grad[i]) not in counted:
            counted.add((first, grad[i]))
            merged.setdefault(first, []).append((i, transposed))
    return own, list(merged.items())


def add_shared(grads: Sequence[Array], merged: Merged) -> None:
    """Add up the gradients of shared weights, as `plan` says."""
    for first, others in merged:
        _add(grads[first], [grads[i].T if turned else grads[i] for i, turned in others])


def _add(total: Array, others: list[Array]) -> None:
    """Add gradients of one weight to the first, in float32 and rounded once if they are half."""
    if len(others) > 1 and total.dtype.itemsize == 2:
        total[...] = sum(others, total.astype(np.float32))
        return
    for other in others:
        total += other
