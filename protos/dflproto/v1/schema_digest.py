"""Made by protos/generate.py. DO NOT EDIT!"""

SCHEMA_DIGEST = "6aeba1ec3b3524bab3a0d8e0cc1f94a5c25d62957761006013548cf98873dbe1"
