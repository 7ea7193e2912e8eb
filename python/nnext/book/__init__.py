"""What the programs of "Deep Learning from Scratch 2" need to give the numbers of the book."""
