"""What a user deploys: one file that is fitted, certified, saved, loaded, and says verdicts with their evidence.

May import everything but the service, the demo and the command line.
"""
