"""What many answers say together: how often flags were wrong, and what a map is worth over requests.

Pure values, and one small file. Nothing here is ever part of a verdict, which depends on its request alone: no room
that decides imports this one.
"""
