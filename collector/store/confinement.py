"""placeholder"""
def confine(config, port): pass
