"""Made by protos/generate.py. DO NOT EDIT!"""

SCHEMA_DIGEST = "6b2cb5bb1ba34cb38bca721757888f2a12f1ed2e26811fd75f9af81a21f9dc4d"
