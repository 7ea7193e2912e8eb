"""Pictures of training and of what was learned; needs matplotlib (the extra ``plot``).

Every function writes a file if it is given a path and opens a window otherwise, and returns the
figure. With ``ax``, axes of yours, it draws there and opens no window. What runs a model leaves no
trace in it. Lines differ by style and shade as well as by colour.
"""

from nnext._plot_classes import plot_confusion_matrix, plot_decision_boundary, plot_predictions
from nnext._plot_graph import plot_graph
from nnext._plot_loss import plot_loss, plot_perplexity
from nnext._plot_values import plot_parameters, plot_residuals

__all__ = [
    "plot_confusion_matrix",
    "plot_decision_boundary",
    "plot_graph",
    "plot_loss",
    "plot_parameters",
    "plot_perplexity",
    "plot_predictions",
    "plot_residuals",
]
