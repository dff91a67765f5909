"""A clip becomes two views: crops, flips and colour, with the matrices between them."""
