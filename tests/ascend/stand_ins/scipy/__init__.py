"""Stands in for scipy, which is not installed here; see `absent`.

Importing vllm-ascend's balancer of experts asks for one quantile, which is computed.
"""

import sys
from statistics import NormalDist

from absent import stand_in

# Asked for by numba.
__version__ = "1.0.0"

stand_in(__name__)

stats = sys.modules[__name__].stats
stats.norm.ppf = NormalDist().inv_cdf
