"""Tests of the bench's arithmetic: none of them looks at how long something takes."""
