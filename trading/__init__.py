"""The functional core: what an account is, what can happen to it, and the one pure step that decides."""
