"""How running proxies learn that a bucket's origin is retired."""

# They look this often, in seconds.
RETIREMENT_LOOK_S = 0.5

# After so long, in seconds, every proxy that runs has looked, also one that was busy.
RETIREMENT_LEARNT_S = 3.0
