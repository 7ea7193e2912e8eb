"""What the programs of "Deep Learning from Scratch 2" need to give the numbers of the book.

``python -m nnext.book PROGRAM [ARGUMENT ...]`` runs a program of the book as it is: what it imports
of the book's package ``common`` comes from here, all else is its own. The modules have the names
of those in ``common``, and these have the names that a star import gives there, `np` among them.
Most are nnext's own; where the book computes other numbers (`Dropout`, the losses, `Nesterov`, the
order of the samples in `Trainer`) they are the book's.
"""
