"""`python -m bench [NAME ...]`: measure on this machine and print; all of them without a name."""

import sys

from bench import latency, messages, react, restart, throughput
from bench.report import say

ALL = {
    "react": react.measure,
    "latency": latency.measure,
    "throughput": throughput.measure,
    "restart": restart.measure,
    "messages": messages.measure,
}

if unknown := set(sys.argv[1:]) - ALL.keys():
    sys.exit(f"error: no such measurement: {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
for name in sys.argv[1:] or ALL:
    say("", "")
    say(f"-- {name}", "")
    ALL[name]()
