"""Made by protos/generate.py. DO NOT EDIT!"""

SCHEMA_DIGEST = "315655110991118707996bea1ffe398a7c56e67acfd668d6cde0ee3b0cecede5"
