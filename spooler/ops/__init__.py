"""What watches delivery from outside: subscribers of `spooler.events`."""
