"""Made by protos/generate.py. DO NOT EDIT!"""

SCHEMA_DIGEST = "2a52166ad3d7bc79121e1ef81e0466d1e0780c68da383776e5db1e229745dfab"
