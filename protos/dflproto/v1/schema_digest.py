"""Made by protos/generate.py. DO NOT EDIT!"""

SCHEMA_DIGEST = "172c4250e4cd4d420db41e28d880ebfd37ed84a7c961aced982984ee6dc81a82"
