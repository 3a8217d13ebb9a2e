"""Made by protos/generate.py. DO NOT EDIT!"""

SCHEMA_DIGEST = "f4220b1fe39049d2471da0985938d20463fe1be4caf03c2242d5d075d00807ca"
