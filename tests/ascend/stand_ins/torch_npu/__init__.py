"""Stands in for torch_npu, which needs an NPU's driver; see `absent`.

What importing the real one does to torch, and the few answers that importing vllm-ascend asks for.
"""

import sys

import torch
import torch.distributed
from absent import stand_in

stand_in(__name__)

npu = sys.modules[__name__].npu
# There is none: what asks first does without.
npu.is_available = lambda: False

torch.utils.rename_privateuse1_backend("npu")
torch.npu = npu
torch.distributed.is_hccl_available = lambda: False
