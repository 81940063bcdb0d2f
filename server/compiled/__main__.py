"""`python -m server.compiled`: says in one line when the compiled code is not built, and nothing when it is."""

import sys

from server.compiled.encoder import describe_choice, is_chosen
from server.settings import Compiled

if not is_chosen(Compiled.AUTO):
    sys.stderr.write(f"compiled code {describe_choice(Compiled.AUTO)}\n")
