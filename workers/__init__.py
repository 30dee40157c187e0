"""The processes behind the gateway, one small file each. What they do is in `keno/`; here is only when, and until
when.
"""
