"""Recorded markets played back: the tape, the venue that matches and books, and the exchanges built on them."""
