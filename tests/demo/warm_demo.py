"""`python -m push.demo` whose daemons begin warm: `python warm_demo.py TWISTD [OPTION…]`."""

import sys

from push.demo import __main__, launcher

if __name__ == "__main__":
    twistd = sys.argv.pop(1)
    launcher._twistd = lambda: twistd
    __main__.main()
