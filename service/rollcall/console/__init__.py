"""The console: what auditors, reviewers and officers see in a browser.

It is a client of AuditService, and of Explain for the page on which texts are tried: it asks with the credentials of
whoever is signed in, and so may do what they may and nothing else; it opens no database. Its pages are made here, work
without scripts, and bring none.
"""
