"""Runs saved workflows without a browser: read, check, execute, report."""
