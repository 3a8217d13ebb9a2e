"""Made by protos/generate.py. DO NOT EDIT!"""

SCHEMA_DIGEST = "d0f7ad3f7934b0ea7f11737225c7ad826d835f9dcf3bd8b6533eacabbfe886ac"
