"""The parts of the page that `rollcall_client.html` puts in order. Each turns a piece of an explanation into markup."""
