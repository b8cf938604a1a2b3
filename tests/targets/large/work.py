"""What scripts that compute do: arrays in a library, loops in the interpreter."""
import json
import re
import sys

import numpy

rounds = int(sys.argv[1])
generator = numpy.random.default_rng(1)
total = 0.0
for _ in range(rounds):
    matrix = generator.random((600, 600))
    total += float((matrix @ matrix.T).trace())
    total += float(numpy.sort(matrix.ravel())[1000])
    total += float(numpy.linalg.svd(matrix[:150, :150], compute_uv=False)[0])
    words = [f"word-{value % 977}" for value in range(60_000)]
    counts = {}
    for word in words:
        if re.match(r"word-(\d)", word):
            counts[word] = counts.get(word, 0) + 1
    total += len(json.dumps(sorted(counts.items())))
print(total)
