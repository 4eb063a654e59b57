"""The embedded DAP service with a made-up school."""
