"""outer -> middle -> hot (3/4) and cold (1/4)."""
import sys
import time

burnt = 1


def burn():
    global burnt
    for _ in range(2000):
        burnt = (burnt * 3 + 1) & 0xFFFFFFFF


def hot(until):
    while time.thread_time_ns() < until:
        burn()


def cold(until):
    while time.thread_time_ns() < until:
        burn()


def middle(start, part):
    hot(start + 3 * part)
    cold(start + 4 * part)


def outer(n):
    start = time.thread_time_ns()
    for i in range(n):
        part = 1500000 + i * 7919 % 20 * 100000
        middle(start, part)
        start += 4 * part


print("works", flush=True)
outer(int(sys.argv[1]))
