"""What is offered for installing and watching is valid, and says the same as the product."""
