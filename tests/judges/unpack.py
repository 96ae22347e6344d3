"""Unpacks a package with the tarfile of the standard library: unpack.py PACKAGE FOLDER"""

import sys
import tarfile

with tarfile.open(sys.argv[1], "r:gz") as package:
    package.extractall(sys.argv[2], filter="tar")
