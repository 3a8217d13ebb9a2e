"""Made by protos/generate.py. DO NOT EDIT!"""

SCHEMA_DIGEST = "e931ec1b92654e97232adde4c264fc5da56b1f895f0f05aa5f1423e7c0b94dfd"
