"""mitmproxy's side: decides for each request where it goes, in `requestheaders`, and lets bodies stream.

    routes.py      pure: the decision table
    switch.py      gathers what the decision needs, and asks for it
    flows.py       turns a decision into changes of a mitmproxy flow
    passage.py     follows a request that went past us to the origin: orders copies, ends origin writes
    loops.py       knows our own requests when they come back, and origins that are ourselves
    resolving.py   judges the addresses that mitmproxy connects to for passages
    memory.py      the in-memory answer
    gateway.py     the running whole as the hooks use it: routes flows, follows them, writes the access line
    settings_watch.py  looks at the settings file, and hands on what may change without a restart
    commands.py    mitmproxy's own commands
    lean.py        takes away the built-in addons that a proxy for a bucket does not need
    hooks.py       the addon: hooks, options, start and stop; its outermost layer lets no exception through

The switch holds no authority: the object service authenticates every request itself. A wrong decision here can cost time, never
security; so whenever something fails here, the request goes to the object service, or is refused.
"""
