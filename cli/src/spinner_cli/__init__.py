"""The `spinner` command: the embedded stack and everything the REST API offers, for people and scripts.

Every command takes `--json` where it prints something; its shapes are the REST API's and stay stable. A failure
says what is wrong and how to fix it, on standard error, with exit code 1; wrong usage is exit code 2. Modules
import what they need inside the commands, so that `spinner --help` and completion stay quick.
"""
