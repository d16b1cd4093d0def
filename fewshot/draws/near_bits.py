"""How alike two pictures may be and still count as one; apart from the search, so that a command line can show it."""

NEAR_BITS = 4  # images whose 64-bit perceptual hashes differ in at most this many bits are near-duplicates
