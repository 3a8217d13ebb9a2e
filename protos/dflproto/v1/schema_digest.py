"""Made by protos/generate.py. DO NOT EDIT!"""

SCHEMA_DIGEST = "0ac8d7c35fa3ef0a6a8c6c7835cc833299d4f1d06a957618447395d28f32435e"
