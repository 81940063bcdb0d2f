"""The tests."""

import os

# Tests hold gRPC channels and start programs in the same process. Its handlers around a fork can end the child before
# it becomes the program; it reads this before its first channel is made.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
