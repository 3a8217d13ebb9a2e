"""Made by protos/generate.py. DO NOT EDIT!"""

SCHEMA_DIGEST = "5f7f70ffb020edcd4e680a959b21f30dfcf316b8f035957e3497fe05a3880fbe"
