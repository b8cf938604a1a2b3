# Prints where a Python is that can tell profilers of its functions.
for python in python3 python3.15 python3.14 python3.13 python3.12 "$HOME"/.pyenv/versions/3.1[2-9]*/bin/python3; do
  path=$(command -v "$python") || continue
  "$path" -X perf -c 'import os, sys; os._exit(not sys.is_stack_trampoline_active())' 2>/dev/null || continue
  "$path" -c 'import sys; print(sys.executable)'
  exit
done
exit 1
