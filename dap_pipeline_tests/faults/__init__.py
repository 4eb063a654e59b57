"""The fault suite: what goes wrong outside, and what must become of it."""
