"""Pages for browsers and what they load. What is served here needs no login and no host but this one."""
