"""`python -m bench [NAME ...]`: measure on this machine and print; without a name all but the outage."""

import sys

from bench import latency, messages, outage, react, restart, throughput
from bench.report import say

ALL = {
    "react": react.measure,
    "latency": latency.measure,
    "throughput": throughput.measure,
    "restart": restart.measure,
    "messages": messages.measure,
    "outage": outage.measure,
}
BY_NAME_ALONE = {"outage"}  # takes more than an hour

if unknown := set(sys.argv[1:]) - ALL.keys():
    sys.exit(f"error: no such measurement: {', '.join(sorted(unknown))}; there are {', '.join(ALL)}")
for name in sys.argv[1:] or (name for name in ALL if name not in BY_NAME_ALONE):
    say("", "")
    say(f"-- {name}", "")
    ALL[name]()
