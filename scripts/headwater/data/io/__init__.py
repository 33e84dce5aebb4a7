"""Input: files as others write them in, arrays and tables of text out; each file format has its one room here."""
