"""Made by protos/generate.py. DO NOT EDIT!"""

SCHEMA_DIGEST = "ae22d90aed553b5a97c9f76f081563354b33a04cafbf0ba175755bba73bfb6a6"
