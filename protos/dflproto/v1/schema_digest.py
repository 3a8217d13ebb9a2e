"""Made by protos/generate.py. DO NOT EDIT!"""

SCHEMA_DIGEST = "be51fde4aa61decd69a98d78e85de18274659e030e23ff89b90513de3381c422"
