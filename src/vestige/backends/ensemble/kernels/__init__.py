"""Small loops written for one shape and compiled on the spot, where a library would carry everything through memory."""
