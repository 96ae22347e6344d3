"""Types a line into a real shell on a terminal of its own and says what became of it.

    type.py bash|zsh SETUP TEXT      SETUP is a file that the shell reads first

The shell completes the text as often as there are tabs in it. What it then has in its line is printed by the shell
itself, between A and Z; before that come the lists that it showed.
"""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

PATIENCE = 60  # seconds
COMMANDS = {
    "bash": lambda setup: ["bash", "--noprofile", "--rcfile", setup, "-i"],
    "zsh": lambda setup: ["zsh", "-d", "-i"],
}


def main():
    shell, setup, text = sys.argv[1:]
    pid, terminal = pty.fork()
    if pid == 0:
        environment = dict(os.environ, TERM="dumb" if shell == "bash" else "xterm", ZDOTDIR=os.path.dirname(setup))
        os.execvpe(shell, COMMANDS[shell](setup), environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 400, 0, 0))
    seen = wait(terminal, "", r"ready> ")
    # To the beginning of the line and to its end; the words that it makes there are not those that it prints.
    os.write(terminal, text.encode() + b"\x01printf 'A%sZ\\n' '\x05'\n")
    seen = wait(terminal, "", r"A(deployctl[^'\r\n\x1b]*)Z")
    os.write(terminal, b"\x04")
    os.close(terminal)
    os.waitpid(pid, 0)
    sys.stdout.write(seen)


def wait(terminal, seen, pattern):
    deadline = time.monotonic() + PATIENCE
    while not re.search(pattern, seen):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([terminal], [], [], left)[0]:
            sys.exit(f"waited for {pattern}; there is {seen!r}")
        seen += os.read(terminal, 65536).decode(errors="replace")
    return seen


main()
