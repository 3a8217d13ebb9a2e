"""Made by protos/generate.py. DO NOT EDIT!"""

SCHEMA_DIGEST = "76bbcce0955153cb00773a04e23ab5c6f5838fe3141a988889fab3a9a096ae36"
