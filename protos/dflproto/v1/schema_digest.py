"""Made by protos/generate.py. DO NOT EDIT!"""

SCHEMA_DIGEST = "e8455b27471100fc3ad605245a0fd6e1bf11c8a4da8b16d0d9a24d051b732739"
