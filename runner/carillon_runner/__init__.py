"""The runner: environment → task → record → exit code; one process is one execution. Imports nothing by itself."""
