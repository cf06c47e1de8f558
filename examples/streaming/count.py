"""Counts words: `count.py map` writes `word TAB 1` lines, `count.py reduce` adds up neighbours of one word."""

import itertools
import sys

stdin, stdout = sys.stdin.buffer, sys.stdout.buffer


def split():
    words = 0
    for line in stdin:
        for word in line.split():
            stdout.write(word + b"\t1\n")
            words += 1
    sys.stderr.write("reporter:counter:text,words,%d\n" % words)


def add():
    pairs = (line.rstrip(b"\n").split(b"\t") for line in stdin)
    for word, group in itertools.groupby(pairs, key=lambda pair: pair[0]):
        stdout.write(b"%s\t%d\n" % (word, sum(int(count) for _, count in group)))


if sys.argv[1] == "map":
    split()
else:
    add()
