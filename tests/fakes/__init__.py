"""Local servers that stand in for the services outside, each faithful to the client library that speaks to it."""

NUMBER, ADDRESS = "+15550007788", "canary@example.org"
"""The operator's phone and mailbox in the tests: no log, answer or table may show them."""
