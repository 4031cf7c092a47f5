"""What a run gives: the restored image, and what it cost."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from nspike.contracts.ledger import Ledger


@dataclass(frozen=True, eq=False)
class Result:
    """A restored image.

    Parameters
    ----------
    image : of the input's dtype and number of channels; float64 in [0, 1] for a float input
    ledger : what it cost; of the plain ANN, a ledger without layers that holds the ANN's multiply-accumulates alone
    seconds : the network's time, from pixels to pixels
    """

    image: NDArray[Any]
    ledger: Ledger
    seconds: float
