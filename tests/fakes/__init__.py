"""Local servers that stand in for the services outside, each faithful to the client library that speaks to it."""
